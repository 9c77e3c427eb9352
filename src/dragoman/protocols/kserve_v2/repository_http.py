"""Triton's model repository extension over HTTP: routes, and thin handlers between its requests and the control."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from dragoman.config import LimitSettings
from dragoman.engine.control import Controls
from dragoman.protocols.kserve_v2 import metadata, repository
from dragoman.transport.request import Guard, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import respond_failure

OPERATION: Final = "model-repository"


class RepositoryHttp:
    """Handlers over one control. ``guard`` is asked before anything is changed."""

    def __init__(self, control: Controls, limits: LimitSettings, guard: Guard) -> None:
        self._control = control
        self._depth = limits.json_depth
        self._guard = guard
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router) -> None:
        for path in ("/v2/repository", "/v2/repository/{}"):  # there is one, whatever it is called
            router.add("POST", f"{path}/index", self.index, operation="model-index")
        for action, handler in (("load", self.load), ("unload", self.unload)):
            router.add(
                "POST",
                f"/v2/repository/models/{{}}/{action}",
                handler,
                guard=self._guard,
                operation=OPERATION,
                about=0,
            )
            named = f"/v2/repository/{{}}/models/{{}}/{action}"
            router.add(
                "POST", named, self.in_named_repository, guard=self._guard, operation=OPERATION, about=1
            )

    def index(self, http: HttpRequest) -> None:
        """Every version in the repository; ``{"ready": true}`` leaves out those that can't answer."""
        self._answer(http, self._index(http, metadata.decode_index(http.body)))

    def load(self, http: HttpRequest) -> None:
        """Load a model, or load it again: as it is in the repository, or with another configuration or other files."""
        self._answer(http, self._load(http))

    def unload(self, http: HttpRequest) -> None:
        """Unload a model: what it has accepted is still answered."""
        dependents = repository.decode_unload(http.body, self._depth)
        self._answer(http, self._unload(http, dependents))

    def in_named_repository(self, http: HttpRequest) -> None:
        """Load or unload in one of several repositories: there is one."""
        raise repository.named_repository()

    async def _index(self, http: HttpRequest, only_ready: bool) -> None:
        entries = repository.describe(await self._control.index(), only_ready, self._control.answers)
        http.respond(200, metadata.encode_index(entries))

    async def _load(self, http: HttpRequest) -> None:
        # Files of models are big: decoding them is a thread's work.
        overrides = await asyncio.to_thread(repository.decode_load, http.body, self._depth)
        await repository.load(self._control, http.params[0], overrides, _who(http))
        http.respond(200)

    async def _unload(self, http: HttpRequest, dependents: bool) -> None:
        await repository.unload(self._control, http.params[0], dependents, _who(http))
        http.respond(200)

    def _answer(self, http: HttpRequest, answering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_answered(http, answering))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _answered(http: HttpRequest, answering: Coroutine[Any, Any, None]) -> None:
    try:
        await answering
    except Exception as error:
        respond_failure(http, error)


def _who(http: HttpRequest) -> str:
    """Who wants it, for the log and for whoever asks later."""
    where = http.client[0] if http.client is not None else "a local client"
    return f"{http.caller.name} from {where}" if http.caller.name else where
