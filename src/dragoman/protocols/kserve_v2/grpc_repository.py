"""Triton's model repository extension over gRPC: thin handlers between its messages and the control."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dragoman.engine.control import Controls
from dragoman.protocols.kserve_v2 import grpc_codec, repository
from dragoman.protocols.kserve_v2.messages import SERVICE, message
from dragoman.transport.auth import About
from dragoman.transport.grpc.call import Call, Handler, Shape
from dragoman.transport.grpc.routes import Routes
from dragoman.transport.grpc.status import fail_unexpected

OPERATION: Final = "model-repository"

#: What each oneof of a parameter is called in Triton's refusals.
_KINDS: Final = {str: "string_param", bytes: "bytes_param", bool: "bool_param"}

Answer = Callable[[Call, Any], Awaitable[Any]]


class RepositoryGrpc:
    """Handlers over one control."""

    def __init__(self, control: Controls) -> None:
        self._control = control
        self._tasks: set[asyncio.Task[None]] = set()

    def add_services(self, routes: Routes) -> None:
        for method, answer, operation, about in (
            ("RepositoryIndex", self.index, "model-index", About.MODELS),
            ("RepositoryModelLoad", self.load, OPERATION, About.HANDLER),
            ("RepositoryModelUnload", self.unload, OPERATION, About.HANDLER),
        ):
            handler = self._answering(message(f"{method}Request"), answer)
            routes.add(SERVICE, method, Shape.UNARY, handler, operation, about=about)

    async def index(self, call: Call, request: Any) -> Any:
        """Every version in the repository; ``ready`` leaves out those that can't answer."""
        answer = message("RepositoryIndexResponse")()
        records = await self._control.index()
        for entry in repository.describe(records, request.ready, self._control.answers):
            answer.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return answer

    async def load(self, call: Call, request: Any) -> Any:
        """Load a model, or load it again: as it is in the repository, or with another configuration or other files."""
        call.caller.check(request.model_name)
        overrides = repository.read_load(_parameters(request), _read)
        name = _name(request)
        await repository.load(self._control, name, overrides, _who(call))
        told = {} if request.model_name else {"model_name": name, "isLoaded": True}
        return message("RepositoryModelLoadResponse")(**told)

    async def unload(self, call: Call, request: Any) -> Any:
        """Unload a model: what it has accepted is still answered."""
        call.caller.check(request.model_name)
        dependents = repository.read_unload(_parameters(request))
        name = _name(request)
        await repository.unload(self._control, name, dependents, _who(call))
        told = {} if request.model_name else {"model_name": name, "isUnloaded": True}
        return message("RepositoryModelUnloadResponse")(**told)

    def _answering(self, kind: Any, answer: Answer) -> Handler:
        """A handler that answers later. It goes on when its client has gone: a change is made as a whole."""

        async def answered(call: Call, request: Any) -> None:
            try:
                if request.repository_name and getattr(request, "model_name", "-"):
                    raise repository.named_repository()
                call.respond((await answer(call, request)).SerializeToString())
            except Exception as error:
                fail_unexpected(call, error)

        def handle(call: Call) -> None:
            request = grpc_codec.decode(kind, call.message)
            task = asyncio.get_running_loop().create_task(answered(call, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return handle


def _name(request: Any) -> str:
    """The model's name: KServe's clients write it where Triton's write a repository's, and are told more."""
    name: str = request.model_name or request.repository_name
    return name


def _parameters(request: Any) -> dict[str, Any]:
    """The values as they are; ``None`` for one that is empty."""
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in request.parameters.items()}
    return {name: kind and getattr(request.parameters[name], kind) for name, kind in chosen.items()}


def _read(name: str, value: Any, kind: type) -> Any:
    """A parameter of a load. Raises InvalidInput."""
    if type(value) is not kind:
        raise repository.wrong_type(f"load parameter '{name}'", _KINDS[kind])
    return value


def _who(call: Call) -> str:
    """Who wants it, for the log and for whoever asks later."""
    return f"{call.caller.name} from {call.peer}" if call.caller.name else call.peer
