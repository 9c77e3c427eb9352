"""The server of a program that has made its models itself: an ``App`` whose models are the program's."""

import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from dragoman.app import App, Siblings
from dragoman.compat.kserve import metrics
from dragoman.compat.kserve.model_repository import ModelRepository
from dragoman.compat.kserve.utils.inference_client_factory import InferenceClientFactory
from dragoman.config import Settings
from dragoman.engine.control import Controls
from dragoman.serving import openapi
from dragoman.serving.middleware import Front
from dragoman.serving.models import ServedModels
from dragoman.transport.http import Finder

#: Where prometheus_client's metrics of several processes meet.
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"


class Relations(Siblings, Protocol):
    """The other processes of one server, which follow each other's changes."""

    follow: Any

    async def tell(self, action: str, name: str) -> list[str]:
        """Returns when they have followed, with what went wrong there."""


class Family(NamedTuple):
    """The other processes, and what clients have changed since they began."""

    siblings: Relations
    changes: Sequence[Sequence[str]]


class ServingApp(App):
    """Serves what a ``ModelRepository`` holds."""

    has_users = False  # as with KServe, whatever is in front of the server asks

    def __init__(
        self,
        settings: Settings,
        repository: ModelRepository,
        family: Family | None = None,
        application: Any = None,
        *,
        docs: bool = False,
    ) -> None:
        """``application`` is the program's own, for routes and middleware; ``docs`` is whether ``/docs`` shows what
        the server answers."""
        super().__init__(settings, (), None if family is None else family.siblings)
        self._held = repository
        self._family = family
        self._application = application
        self._docs = docs
        self._front: Front | None = None

    def finder(self) -> Finder:
        openapi.add_routes(self.router, pages=self._docs)
        if self._application is None:
            return super().finder()
        self._front = Front(self._application, self.router, self.settings.limits)
        return self._front.find

    async def start(self) -> None:
        await super().start()
        if self._front is not None:
            await self._front.bridge.startup()

    async def stop(self) -> None:
        await super().stop()
        await InferenceClientFactory().close()  # to predictors, which nobody asks any more
        if self._front is not None:
            await self._front.bridge.shutdown()

    def make_control(self) -> Controls:
        if self._family is None:
            return ServedModels(self.engine, self._held, self.openai)
        siblings, changes = self._family
        control = ServedModels(self.engine, self._held, self.openai, siblings.tell, changes)
        siblings.follow = control.follow_change
        return control

    def more_metrics(self) -> bytes:
        """What the program measures itself, and KServe's times of hooks; of all processes."""
        if METRICS not in os.environ:
            return generate_latest(REGISTRY) + generate_latest(metrics.REGISTRY)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
