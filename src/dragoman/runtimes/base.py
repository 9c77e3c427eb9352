"""A runtime: something that loads a model's file and answers requests with it. One page on purpose."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

from dragoman.errors import ConfigError, DragomanError
from dragoman.model_metrics import Pending
from dragoman.types import InferRequest, InferResponse, Signature


@dataclass(frozen=True, slots=True)
class Artifact:
    """Where a model's version lies and what the operator says of it.

    ``path`` is a file or a directory, or ``None`` when ``entry`` (``module:Class``) is all there is.
    ``options`` are the runtime's own settings, from ``[options]`` of ``model.toml``. ``trusted`` is true
    only for a local path that the operator named: formats that can run code load only then.
    """

    name: str
    version: str
    path: Path | None = None
    entry: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = False


#: Takes a part of an answer; what it gives back is nobody's business here.
Emit = Callable[[int, InferResponse], object]


#: Takes the outcomes of requests, in order, once; from any thread.
Done = Callable[[Sequence[InferResponse | DragomanError]], None]
#: Asks another model. Its outcomes go to the second argument, parts first; what it gives back takes the question back.
Ask = Callable[[InferRequest, Callable[[InferResponse | DragomanError], None]], Callable[[], None]]


class RunningBatch(ABC):
    """Requests that a ``continuous`` model answers step by step; ``key`` tells them apart. Its length counts them."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def join(self, key: int, request: InferRequest) -> None:
        """From the next step on it is one of them."""

    @abstractmethod
    def leave(self, key: int) -> None:
        """Nobody waits for its answer any more."""

    @abstractmethod
    def step(self) -> Sequence[tuple[int, InferResponse | DragomanError]]:
        """Ask the model once about all of them. The answers of those that are done; they have left. Never raises."""


class Runtime(ABC):
    """One loaded copy of a model. Made by ``load`` and used from one thread at a time.

    ``signature`` describes the model. ``fast`` means that an execution takes microseconds, so that the
    server may run it on its event loop; everything else gets a thread of its own.
    """

    extra: ClassVar[str] = ""  #: the installation extra that brings the library
    signature: Signature
    fast: bool = False

    @classmethod
    @abstractmethod
    def load(cls, artifact: Artifact) -> "Runtime":
        """Load the model. ConfigError when the file is not what it should be or a library is missing."""

    @abstractmethod
    def execute(self, request: InferRequest) -> InferResponse:
        """Answer one request (or the joined rows of several). Inputs have passed the signature.

        Raises InvalidInput for what only the model could know is wrong; any other exception is the model's
        failure.
        """

    #: Values that the model gives metrics of its own, for whoever runs it to take; ``None`` where it has none.
    metrics: Pending | None = None

    #: The runtime takes several requests at once as they are, of whatever kind, instead of joined rows.
    takes_requests: ClassVar[bool] = False

    #: The model takes what the client sent, body and headers, and knows itself what is right: its signature is for
    #: people. A body is a BYTES tensor called ``body`` with the parameter ``content_type``, as it is the answer's
    #: ``parameters`` that have its ``status``, ``headers`` and ``content_type``.
    takes_documents: ClassVar[bool] = False

    #: Of those, only equal ones come together, and what counts of them is their rows.
    takes_rows: ClassVar[bool] = False

    #: It asks other models while it answers, answers from threads of its own, and wants to know of requests that were
    #: ``abandoned``: a worker process then hears what comes while an execution goes on.
    talks: ClassVar[bool] = False

    #: It answers as often as it likes, or not at all: a last response without outputs says only that it is over.
    decoupled: bool = False

    def attend(self, ask: Ask) -> None:
        """From now on other models can be asked; only where ``talks`` is true."""
        raise NotImplementedError

    def begin(self, requests: Sequence[InferRequest], emit: Emit, done: Done) -> None:
        """``execute_requests`` that may return before everything is answered; only where ``talks`` is true."""
        raise NotImplementedError

    def execute_requests(
        self, requests: Sequence[InferRequest], emit: Emit
    ) -> Sequence[InferResponse | DragomanError]:
        """Answer several requests with one call of the model; only where ``takes_requests`` is true.

        ``emit(place, response)`` hands out a part of a request's answer (``final`` false) before its last one.
        """
        raise NotImplementedError

    #: How many of them it likes to get at once, unless the operator says otherwise.
    most_requests: int = 1

    #: What else the model can be asked, by name: requests for ``model.name`` have another signature.
    faces: Mapping[str, Signature] = MappingProxyType({})

    #: What the model says of itself to a protocol of its own, as JSON has it; ``None`` where it needs none.
    description: Mapping[str, Any] | None = None

    #: Executions may run side by side, as coroutines: a worker process then starts each batch as it comes.
    concurrent: bool = False

    async def execute_concurrently(
        self, requests: Sequence[InferRequest], emit: Emit
    ) -> Sequence[InferResponse | DragomanError]:
        """``execute_requests`` as a coroutine; only where ``concurrent`` is true."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Whether it would answer now."""
        return True

    #: ``alive`` asks the model, which may say otherwise at any time; only where ``talks`` is true.
    watched: bool = False

    #: The model is asked again and again about all requests that run: others join between two steps, one by one.
    continuous: bool = False

    def open_batch(self, emit: Emit) -> RunningBatch:
        """The batch that requests join, only where ``continuous`` is true; ``emit`` gets parts of answers, by key."""
        raise NotImplementedError

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the runtime's own event loop; only where ``concurrent`` is true."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - most runtimes have nothing to give back
        """Give everything back. Called once, after the last execution."""


def require(module: str, extra: str) -> ModuleType:
    """Import a runtime's library, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        raise ConfigError(
            f"this model needs the Python package {module.split('.')[0]!r}, which is not installed",
            hint=f"pip install 'dragoman[{extra}]'",
        ) from error
