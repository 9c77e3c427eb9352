"""Typed services over HTTP: finds the service and endpoint that a path means, and passes the request to the engine.

A service's code runs in its worker alone: nothing here imports it, checks for it, or waits for it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import State
from dragoman.engine.model import Model
from dragoman.errors import DragomanError, ModelFailed, NotFound, NotReady, Unprocessable
from dragoman.protocols.service import codec, documents
from dragoman.protocols.service.table import KIND, Table
from dragoman.scheduling.scheduler import Outcome, Ticket
from dragoman.tensors import dump_json
from dragoman.transport.request import Guard, Handler, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import STATUS, error_headers
from dragoman.transport.stream import PieceWriter
from dragoman.types import InferResponse

DIALECT: Final = "service"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NOT_FOUND: Final = b'{"error":"Not Found"}'
_CACHED: Final = (("Cache-Control", "public, max-age=86400"),)


class Http:
    """Handlers over one engine. ``expected`` are the services that the server is to have once it has started."""

    def __init__(self, engine: Engine, expected: Collection[str] = ()) -> None:
        self._engine = engine
        self._expected = frozenset(expected)
        self._taken: Callable[[str, str], bool] = lambda method, path: False
        self._made: Table | None = None

    def add_routes(self, router: Router, guard: Guard | None = None) -> None:
        """``/services/…``, and every path that is nobody else's; ``guard`` is asked about those."""
        router.add("GET", f"/{documents.ASSETS}/{{}}", self.asset, permit=False, operation="pages")
        router.add("GET", "/services", self.index, operation="metadata")
        for path in ("/services/{}", "/services/{}/"):
            router.add("GET", path, self.named, operation="inference", about=0)
        router.add(METHODS, "/services/{}/{*}", self.named, operation="inference", about=0)
        router.fallback(self.anything, streaming=False, guard=self._guarding(guard))
        self._taken = lambda method, path: bool(router.find(method, path)[0].pattern)

    # Handlers of the server's routes.

    def anything(self, http: HttpRequest) -> None:
        """A path at the root: a service's, or nobody's."""
        route, params = self._table.root.find(http.method, http.path)
        if route.pattern:
            http.params = params
            route.handler(http)
        elif self._starting:
            _refuse(http, NotReady("the service is still starting"))
        else:
            http.respond(404, _NOT_FOUND)

    def named(self, http: HttpRequest) -> None:
        """``/services/{name}/…``: the same, whatever else the server has at its root."""
        name = http.params[0]
        router = self._table.named.get(name)
        if router is None:
            _refuse(http, self._missing(name))
            return
        path = http.path.partition("/services/")[2].partition("/")[2]
        route, params = router.find(http.method, f"/{path}")
        if not route.pattern:
            _refuse(http, NotFound("Not Found"))
            return
        http.params = params
        route.handler(http)

    def index(self, http: HttpRequest) -> None:
        """Which services there are."""
        names = list(self._table.named)
        http.respond(
            200, dump_json({"services": [{"name": name, "url": f"/services/{name}"} for name in names]})
        )

    def asset(self, http: HttpRequest) -> None:
        """A script or style of the pages."""
        body, content_type = documents.asset(http.params[0])
        http.respond(200, body, content_type, _CACHED)

    def at_home(self, http: HttpRequest) -> bool:
        """Answer ``GET /`` for the service at the root; false where there is none, or the client is a browser."""
        if "text/html" in (http.header(b"accept") or ""):
            return False
        if home := self._table.home:
            self.health(home)(http)
        elif self._starting:
            _refuse(http, NotReady("the service is still starting"))
        else:
            return False
        return True

    # Handlers of a service's paths.

    def ask(self, name: str, endpoint: str) -> Handler:
        return partial(self._ask, name, endpoint)

    def health(self, name: str) -> Handler:
        def health(http: HttpRequest) -> None:
            model = self._engine.find(name)
            if not model.ready:
                _refuse(http, NotReady(f"service {name!r} is not ready"))
                return
            said = model.description or {}
            body = codec.encode_health(_call(http), model.version, said["run"]) if said["envelope"] else b"{}"
            http.respond(200, body)

        return health

    def document(self, name: str, prefix: str) -> Handler:
        def document(http: HttpRequest) -> None:
            http.caller.check(name)
            said = self._engine.find(name).description or {}
            servers = {"servers": [{"url": prefix}]} if prefix else {}
            http.respond(200, dump_json({**said["openapi"], **servers}), compress=True)

        return document

    def page(self, name: str, kind: str) -> Handler:
        def page(http: HttpRequest) -> None:
            http.caller.check(name)
            said = self._engine.find(name).description or {}
            body = documents.page(kind, said["title"], http.path)
            headers = (("Content-Security-Policy", documents.POLICY),)
            http.respond(200, body, "text/html; charset=utf-8", headers)

        return page

    # Inside.

    @property
    def _table(self) -> Table:
        registry = self._engine.registry
        if self._made is None or self._made.changes != registry.changes:
            self._made = Table(registry, self, self._taken)
        return self._made

    @property
    def _starting(self) -> bool:
        return any(self._is_starting(name) for name in self._expected)

    def _is_starting(self, name: str) -> bool:
        records = self._engine.lifecycle.records.values()
        states = [record.state for record in records if record.name == name]
        return not states or any(state in (State.NEW, State.LOADING) for state in states)

    def _missing(self, name: str) -> DragomanError:
        if self._is_starting(name) and (name in self._expected or self._engine.registry.knows(name)):
            return NotReady(f"service {name!r} is still starting")
        return NotFound(f"there is no service {name!r}")

    def _guarding(self, guard: Guard | None) -> Guard | None:
        """Asks only about paths that a service has: what is nobody's is not found, whoever asks."""
        if guard is None:
            return None

        def guarding(http: HttpRequest) -> None:
            if self._table.root.find(http.method, http.path)[0].pattern:
                guard(http)

        return guarding

    def _ask(self, name: str, endpoint: str, http: HttpRequest) -> None:
        try:
            model = self._find(name, http)
        except DragomanError as error:
            self._engine.refuse(DIALECT, error)
            _refuse(http, error)
            return
        request = codec.make_request(model.name, model.version, endpoint, _call(http), http.body)
        exchange = _Exchange(http)
        try:
            entry = model.infer(request, exchange.reply, DIALECT, check=False)
        except DragomanError as error:
            _refuse(http, error)
            return
        if entry is not None and not entry.answered:
            exchange.entry = entry
            http.on_disconnect = exchange.lost

    def _find(self, name: str, http: HttpRequest) -> Model:
        http.caller.check(name)
        model = self._engine.find(name, "", http.header)
        if model.description is None or model.description.get("kind") != KIND:
            raise NotFound(f"version {model.version} of {name!r} is no service")
        return model


@dataclass(slots=True)
class _Exchange:
    """One request and its answer, whole or in parts."""

    http: HttpRequest
    entry: Ticket | None = None
    writer: PieceWriter | None = None

    def reply(self, outcome: Outcome) -> None:
        """Called with every part, the last one marked ``final``, or with the failure. Raises ModelFailed."""
        if not isinstance(outcome, InferResponse):
            if self.writer is None:
                _refuse(self.http, outcome)
            else:  # too late to say why; the client sees that something is missing
                self.writer.abort()
                self._cancel()
            return
        answer = codec.decode_answer(outcome)
        try:
            self._answer(answer, outcome.final)
        except ValueError as error:  # nothing was written yet
            raise ModelFailed(f"the service's answer has a header that can't be sent: {error}") from None

    def lost(self) -> None:
        """The client has gone."""
        if self.writer is not None:
            self.writer.stop()
        self._cancel()

    def _answer(self, answer: codec.Answer, final: bool) -> None:
        if self.writer is None:
            if final:
                self.http.respond(
                    answer.status, answer.body, answer.content_type, answer.headers, compress=True
                )
                return
            self.http.start(answer.status, (("Content-Type", answer.content_type), *answer.headers))
            self.writer = PieceWriter(self.http, self._cancel)
        self.writer.write(answer.body)
        if final:
            self.writer.end()

    def _cancel(self) -> None:
        if self.entry is not None:
            self.entry.cancel()


def _call(http: HttpRequest) -> codec.Call:
    host = http.header(b"host") or "localhost"
    query = f"?{http.query}" if http.query else ""
    url = f"{http.scheme}://{host}{http.root_path}{http.path}{query}"
    return codec.Call(http.method, url, http.query, http.params, http.headers)


def _refuse(http: HttpRequest, error: DragomanError) -> None:
    status = codec.UNPROCESSABLE if isinstance(error, Unprocessable) else STATUS[error.code]
    http.respond(status, codec.encode_error(error), headers=error_headers(error))
