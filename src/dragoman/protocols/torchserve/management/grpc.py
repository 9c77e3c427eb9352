"""TorchServe's management API over gRPC. Thin: what is asked is in ``requests``, what is done in a ``Models``.

A message's numbers of 0 and empty texts are as if they weren't there, as with TorchServe.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dragoman.errors import Code, DragomanError
from dragoman.protocols.torchserve.errors import Refused, encode_json
from dragoman.protocols.torchserve.grpc import decode
from dragoman.protocols.torchserve.grpc_errors import tell_management, tell_prediction
from dragoman.protocols.torchserve.management.refusals import bad_request
from dragoman.protocols.torchserve.management.requests import PAGE, Page, Registration, Scaling
from dragoman.protocols.torchserve.management.service import Models
from dragoman.protocols.torchserve.messages import MANAGEMENT, SCHEMA
from dragoman.transport.grpc.call import Call, Handler, Shape
from dragoman.transport.grpc.routes import Routes
from dragoman.transport.grpc.status import fail_unexpected

OPERATION: Final = "management"
ALL: Final = "all"

_PACKAGE: Final = MANAGEMENT.rpartition(".")[0]
_Response: Final = SCHEMA.message(f"{_PACKAGE}.ManagementResponse")

Answer = Callable[[Call, Any], Awaitable[str]]


class Grpc:
    """The six methods. Unless ``model_api`` is on, models are neither registered nor removed."""

    def __init__(self, models: Models, *, model_api: bool) -> None:
        self._models = models
        self._model_api = model_api
        self._tasks: set[asyncio.Task[None]] = set()

    def add_services(self, routes: Routes) -> None:
        for method, answer in (
            ("DescribeModel", self.describe_model),
            ("ListModels", self.list_models),
            ("RegisterModel", self.register_model),
            ("ScaleWorker", self.scale_worker),
            ("SetDefault", self.set_default),
            ("UnregisterModel", self.unregister_model),
        ):
            kind = SCHEMA.message(f"{_PACKAGE}.{method}Request")
            routes.add(MANAGEMENT, method, Shape.UNARY, self._answering(kind, answer), OPERATION)

    async def list_models(self, call: Call, request: Any) -> str:
        """A limit of 0 is a limit of 0, as recorded: the list is empty then."""
        limit = request.limit if 0 <= request.limit <= PAGE else PAGE
        return _write(self._models.listing(Page(limit, max(0, request.next_page_token))))

    async def describe_model(self, call: Call, request: Any) -> str:
        """One version, the default one, or ``all``; ``customized`` adds what a worker says of itself."""
        name, version = request.model_name, request.model_version
        if not request.customized or version == ALL:
            return _write(self._models.describe(name, version))
        return _write(await self._models.describe_customized(name, version, {"describe": "True"}))

    async def register_model(self, call: Call, request: Any) -> str:
        self._check_allowed()
        asked = Registration(
            url=request.url or None,
            model_name=request.model_name or None,
            handler=request.handler or None,
            runtime=request.runtime or None,
            batch_size=_number(request.batch_size),
            max_batch_delay=_number(request.max_batch_delay),
            initial_workers=_number(request.initial_workers),
            response_timeout=_number(request.response_timeout),
            startup_timeout=_number(request.startup_timeout),
            synchronous=request.synchronous,
        )
        return (await self._models.register(asked, who(call))).text

    async def scale_worker(self, call: Call, request: Any) -> str:
        minimum = _number(request.min_worker) or 1
        maximum = _number(request.max_worker) or minimum
        asked = Scaling(minimum=minimum, maximum=maximum, synchronous=request.synchronous)
        said = await self._models.scale(request.model_name, request.model_version, asked, who(call))
        return said.text

    async def set_default(self, call: Call, request: Any) -> str:
        return (await self._models.set_default(request.model_name, request.model_version, who(call))).text

    async def unregister_model(self, call: Call, request: Any) -> str:
        self._check_allowed()
        if not request.model_name:
            raise bad_request("Parameter url is required.")  # as TorchServe says it
        return (await self._models.unregister(request.model_name, request.model_version, who(call))).text

    def _check_allowed(self) -> None:
        if not self._model_api:
            raise Refused(403, "ModelException", "Model API disabled", Code.FORBIDDEN)

    def _answering(self, kind: Any, answer: Answer) -> Handler:
        """A handler that answers later. It goes on when its client has gone: a change is made as a whole."""

        async def answered(call: Call, request: Any) -> None:
            try:
                call.respond(_Response(msg=await answer(call, request)).SerializeToString())
            except DragomanError as error:
                _fail(call, request, error)
            except Exception as error:
                fail_unexpected(call, error)

        def handle(call: Call) -> None:
            try:
                request = decode(kind, call.message)
            except DragomanError as error:
                _fail(call, None, error)
                return
            task = asyncio.get_running_loop().create_task(answered(call, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return handle


def who(call: Call) -> str:
    """Who asks for a change, for the records."""
    return f"management API, {call.peer}"


def _fail(call: Call, request: Any, error: DragomanError) -> None:
    """What a worker was asked for fails as predictions do."""
    if getattr(request, "customized", False):
        told = tell_prediction(error, request.model_name, request.model_version)
    else:
        told = tell_management(error)
    call.fail(told.status, told.details)


def _number(value: int) -> int | None:
    return value if value > 0 else None


def _write(document: Any) -> str:
    return encode_json(document).decode().rstrip("\n")
