"""What the management API, over whatever wire, asks of those who look after the models."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from dragoman.protocols.torchserve.management.requests import (
    Page,
    Registration,
    Scaling,
    WorkflowRegistration,
)
from dragoman.types import InferRequest

Document = dict[str, Any]


class Said(NamedTuple):
    """What was done: an HTTP status (200, or 202 for what goes on) and a sentence for people."""

    status: int
    text: str


class Models(Protocol):
    """Changes models and tells of them. ``who`` is written down with each change.

    An empty ``version`` is the model's default. Every method raises DragomanError, most of them TorchServe's own kinds
    (``protocols.torchserve.errors.Refused``).
    """

    async def register(self, asked: Registration, who: str) -> Said: ...
    async def scale(self, name: str, version: str, asked: Scaling, who: str) -> Said: ...
    async def set_default(self, name: str, version: str, who: str) -> Said: ...
    async def unregister(self, name: str, version: str, who: str) -> Said: ...

    def listing(self, page: Page) -> Document:
        """The default versions, by name."""

    def describe(self, name: str, version: str) -> list[Document]:
        """A version, or all versions for ``all``."""

    async def describe_customized(
        self, name: str, version: str, headers: Mapping[str, str]
    ) -> list[Document]:
        """The same with what a worker, asked with these headers, says of itself."""

    def ready(self, name: str) -> bool:
        """Whether the model could answer."""


class Workflows(Protocol):
    """The same for workflows, and asks them."""

    async def register(self, asked: WorkflowRegistration, who: str) -> Said: ...
    async def unregister(self, name: str, who: str) -> Said: ...
    def listing(self, page: Page) -> Document: ...
    def describe(self, name: str) -> list[Document]: ...

    async def predict(self, request: InferRequest) -> bytes:
        """The answer of the workflow that the request names as its model, in JSON or as its last handler wrote it."""
