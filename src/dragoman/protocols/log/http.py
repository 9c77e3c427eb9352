"""Kept predictions over HTTP. Thin: the codec knows the wire, the monitor what is kept.

::

    GET  /log/predictions               what was predicted, newest first
    POST /log/predictions/{id}/label    what was true
    GET  /log/accuracy                  how much of it was right
    GET  /log/drift                     how far what is asked has moved from what models were trained on
"""

import asyncio
from collections.abc import Awaitable, Callable

from dragoman.monitoring.monitor import Monitor
from dragoman.protocols.log import codec
from dragoman.stats import Stats
from dragoman.transport.request import Guard, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import respond_failure

#: The numbers of all processes. Raises NotReady.
Gather = Callable[[], Awaitable[Stats]]


class Http:
    """Handlers over one server's monitoring."""

    def __init__(self, monitor: Monitor, gather: Gather) -> None:
        self._monitor = monitor
        self._gather = gather
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router, guard: Guard) -> None:
        """``guard`` keeps pages of other sites out."""
        for method, pattern, handler in (
            ("GET", "/log/predictions", self.predictions),
            ("POST", "/log/predictions/{}/label", self.label),
            ("GET", "/log/accuracy", self.accuracy),
            ("GET", "/log/drift", self.drift),
        ):
            router.add(method, pattern, handler, guard=guard, operation="logging")

    def predictions(self, http: HttpRequest) -> None:
        """What was kept, newest first."""
        query = codec.decode_query(http.query)

        async def work() -> None:
            found = await self._monitor.newest(query)
            http.respond(200, codec.encode_predictions(found, query.limit), compress=True)

        self._answer(http, work)

    def label(self, http: HttpRequest) -> None:
        """Say what was true of a prediction."""
        label = codec.decode_label(http.body)

        async def work() -> None:
            prediction, right = await self._monitor.label(http.params[0], label)
            http.respond(200, codec.encode_label(prediction, right, len(label.values)))

        self._answer(http, work)

    def accuracy(self, http: HttpRequest) -> None:
        """How much of what was predicted was right, by the labels that have come lately."""

        async def work() -> None:
            found = await self._monitor.accuracy()
            http.respond(200, codec.encode_accuracy(found, self._monitor.window))

        self._answer(http, work)

    def drift(self, http: HttpRequest) -> None:
        """How far features have moved."""

        async def work() -> None:
            found = self._monitor.drift(await self._gather())
            http.respond(200, codec.encode_drift(found, self._monitor.window))

        self._answer(http, work)

    def _answer(self, http: HttpRequest, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            except Exception as error:
                respond_failure(http, error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
