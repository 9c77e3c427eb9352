"""The management and metrics ports, as far as they go: the list of models, keys, metrics, and what isn't there.

Knows no address. TorchServe looks at few methods; neither does this.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final
from urllib.parse import parse_qs

from dragoman.engine.engine import Engine
from dragoman.errors import DragomanError
from dragoman.metrics import torchserve as metrics
from dragoman.profiles.torchserve.describing import list_models
from dragoman.profiles.torchserve.doors import Doors
from dragoman.protocols.torchserve import errors
from dragoman.protocols.torchserve.http import METHODS, NO_CACHE
from dragoman.protocols.torchserve.openapi import describe_paths
from dragoman.transport.request import Handler, Header, HttpRequest
from dragoman.transport.router import Router

PAGE: Final = 100  # models in an answer, at most and unless asked otherwise


class Port:
    """What the two ports have in common: an OpenAPI document, errors, and the headers of every answer."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = (*headers, *NO_CACHE)
        self._paths: dict[str, Any] = {}

    def add_common_routes(self, router: Router, entry: Callable[[Handler], Handler]) -> None:
        """What a port that is nobody else's too has at ``/``, and everywhere else; ``entry`` leads to refusals."""
        router.add("OPTIONS", "/", self.open(self.describe), permit=False)
        router.add("GET", "/api-description", self.open(self.describe), permit=False)
        rest = [method for method in METHODS if method != "OPTIONS"]
        router.add(rest, "/", entry(self.not_allowed), permit=False)
        router.fallback(entry(self.not_found), streaming=False)

    def describe(self, http: HttpRequest) -> None:
        """The OpenAPI document."""
        self.answer(http, describe_paths(self._paths))

    def not_allowed(self, http: HttpRequest) -> None:
        raise errors.method_not_allowed()

    def not_found(self, http: HttpRequest) -> None:
        raise errors.resource_not_found()

    def open(self, handler: Handler) -> Handler:
        """``handler``, with TorchServe's answer for what it raises."""

        @wraps(handler)
        def answered(http: HttpRequest) -> None:
            try:
                handler(http)
            except DragomanError as error:
                failure = errors.describe(error)
                self.respond(http, failure.status, errors.encode_failure(failure))

        return answered

    def answer(self, http: HttpRequest, document: Mapping[str, Any]) -> None:
        self.respond(http, 200, errors.encode_json(document))

    def respond(
        self, http: HttpRequest, status: int, body: bytes, content_type: str = "application/json"
    ) -> None:
        headers = (("x-request-id", str(uuid.uuid4())), *self._headers)
        http.respond(status, body, content_type, headers)


class Management(Port):
    """``/models`` and ``/token``. ``urls`` tells where each model came from."""

    def __init__(
        self, engine: Engine, doors: Doors, urls: Callable[[], Mapping[str, str]], headers: Sequence[Header]
    ) -> None:
        super().__init__(headers)
        self._engine = engine
        self._doors = doors
        self._urls = urls
        described = {"200": {"description": "OK"}}
        self._paths = {
            "/models": {"get": {"operationId": "listModels", "responses": described}},
            "/token": {"get": {"operationId": "token", "responses": described}},
        }

    def add_routes(self, router: Router, shared: bool = False) -> None:
        """``shared`` says that another port's API has taken ``/`` and the paths that nobody has."""
        router.add("GET", "/models", self._guarded(self.models), permit=False)
        others = [method for method in METHODS if method not in ("GET", "HEAD")]
        # Registering and describing, when there is something to do it, take these places.
        router.add(others, "/models", self._guarded(self.not_allowed), permit=False)
        if self._doors.locked:
            router.add(METHODS, "/token", self.open(self.renew), permit=False)
        if not shared:
            self.add_common_routes(router, self._guarded)

    def models(self, http: HttpRequest) -> None:
        """``?limit=&next_page_token=``: what is no sensible number counts as if it weren't there."""
        query = parse_qs(http.query)
        limit, start = (_number(query.get(name, [""])[0]) for name in ("limit", "next_page_token"))
        limit = PAGE if limit is None or not 0 <= limit <= PAGE else limit
        start = 0 if start is None or start < 0 else start
        urls = self._urls()
        known = {name: urls[name] for name in self._engine.registry.names() if name in urls}
        self.answer(http, list_models(known, limit, start))

    def renew(self, http: HttpRequest) -> None:
        """The new key is in the file only."""
        self._doors.renew(http)
        self.respond(http, 200, b"\n")

    def _guarded(self, handler: Handler) -> Handler:
        def guarded(http: HttpRequest) -> None:
            self._doors.authorize(http, "management")
            handler(http)

        return self.open(wraps(handler)(guarded))


class Metrics(Port):
    """``/metrics``, for everybody. In another mode than ``prometheus`` it is empty, as TorchServe's."""

    def __init__(self, engine: Engine, mode: str, system: bool, headers: Sequence[Header]) -> None:
        super().__init__(headers)
        self._engine = engine
        self._shown = mode == "prometheus"
        self._system = system
        self._paths = {
            "/metrics": {"get": {"operationId": "metrics", "responses": {"200": {"description": "OK"}}}}
        }

    def add_routes(self, router: Router, shared: bool = False) -> None:
        """As ``Management.add_routes``."""
        router.add(METHODS, "/metrics", self.open(self.metrics), permit=False)
        if not shared:
            self.add_common_routes(router, self.open)

    def metrics(self, http: HttpRequest) -> None:
        """``?name[]=`` chooses."""
        body = b""
        if self._shown:
            names = frozenset(parse_qs(http.query).get("name[]", ()))
            registry = self._engine.registry
            defaults = {model.name: registry.find(model.name).version for model in registry}
            body = metrics.render(self._engine.stats, defaults, names, system=self._system)
        self.respond(http, 200, body, metrics.CONTENT_TYPE)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None
