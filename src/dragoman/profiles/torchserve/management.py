"""The management and metrics ports, as far as they go: the list of models, keys, metrics, and what isn't there.

Knows no address. TorchServe looks at few methods; neither does this.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final
from urllib.parse import parse_qs

from dragoman.engine.engine import Engine
from dragoman.errors import DragomanError
from dragoman.metrics import torchserve as metrics
from dragoman.profiles.torchserve.doors import Doors
from dragoman.protocols.torchserve import errors
from dragoman.protocols.torchserve.http import METHODS, NO_CACHE, new_id
from dragoman.protocols.torchserve.openapi import describe_paths, metrics_paths
from dragoman.transport.answer import lines_of
from dragoman.transport.request import Guard, Handler, Header, HttpRequest
from dragoman.transport.router import Router

PAGE: Final = 100  # models in an answer, at most and unless asked otherwise


class Port:
    """What the two ports have in common: an OpenAPI document, errors, and the headers of every answer."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self._common = lines_of((*headers, *NO_CACHE))
        self._paths: dict[str, Any] = {}

    def add_common_routes(self, router: Router, guard: Guard | None = None) -> None:
        """What a port that is nobody else's too has at ``/``, and everywhere else."""
        router.add("OPTIONS", "/", self.answering(self.describe), permit=False)
        router.add("GET", "/api-description", self.answering(self.describe), permit=False)
        rest = [method for method in METHODS if method != "OPTIONS"]
        router.add(rest, "/", self.answering(self.not_allowed), permit=False, guard=guard)
        router.fallback(self.answering(self.not_found), streaming=False, guard=guard)

    def describe(self, http: HttpRequest) -> None:
        """The OpenAPI document."""
        self.answer(http, describe_paths(self._paths))

    def not_allowed(self, http: HttpRequest) -> None:
        raise errors.method_not_allowed()

    def not_found(self, http: HttpRequest) -> None:
        raise errors.resource_not_found()

    def answering(self, handler: Handler) -> Handler:
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
        http.respond(status, body, content_type, (("x-request-id", new_id()),), common=self._common)


class Management(Port):
    """``/models`` and ``/token``. ``urls`` tells where each version of each model came from."""

    def __init__(
        self,
        engine: Engine,
        doors: Doors,
        urls: Callable[[], Mapping[tuple[str, str], str]],
        headers: Sequence[Header],
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
        guard = self.answering(self._authorize) if self._doors.locked else None
        router.add("GET", "/models", self.answering(self.models), permit=False, guard=guard)
        others = [method for method in METHODS if method not in ("GET", "HEAD")]
        # Registering and describing, when there is something to do it, take these places.
        router.add(others, "/models", self.answering(self.not_allowed), permit=False, guard=guard)
        if self._doors.locked:
            renewing = self.answering(self._doors.authorize_renewal)
            router.add(METHODS, "/token", self.answering(self.renew), permit=False, guard=renewing)
        if not shared:
            self.add_common_routes(router, guard)

    def models(self, http: HttpRequest) -> None:
        """The default versions. ``?limit=&next_page_token=``: what is no sensible number counts as absent."""
        query = parse_qs(http.query)
        limit, start = (_number(query.get(name, [""])[0]) for name in ("limit", "next_page_token"))
        limit = PAGE if limit is None or not 0 <= limit <= PAGE else limit
        start = 0 if start is None or start < 0 else start
        registry, urls = self._engine.registry, self._urls()
        found = {name: urls.get((name, registry.default(name))) for name in registry.names()}
        names = [name for name, url in found.items() if url is not None]
        document: dict[str, Any] = {}
        if start + limit <= len(names):  # as recorded: at the very end, too
            document["nextPageToken"] = str(start + limit)
        shown = names[start : start + limit]
        document["models"] = [{"modelName": name, "modelUrl": found[name]} for name in shown]
        self.answer(http, document)

    def renew(self, http: HttpRequest) -> None:
        """The new key is in the file only."""
        self._doors.renew(http)
        self.respond(http, 200, b"\n")

    def _authorize(self, http: HttpRequest) -> None:
        self._doors.authorize(http, "management")


class Metrics(Port):
    """``/metrics``, for everybody. ``scrape`` makes the text of the metrics with these names, or of all."""

    def __init__(self, scrape: Callable[[frozenset[str]], bytes], headers: Sequence[Header]) -> None:
        super().__init__(headers)
        self._scrape = scrape
        self._paths = metrics_paths(metrics.CONTENT_TYPE)

    def add_routes(self, router: Router, shared: bool = False) -> None:
        """As ``Management.add_routes``."""
        router.add(METHODS, "/metrics", self.answering(self.metrics), permit=False)
        if not shared:
            self.add_common_routes(router)

    def metrics(self, http: HttpRequest) -> None:
        """``?name[]=`` chooses."""
        names = frozenset(parse_qs(http.query).get("name[]", ()))
        self.respond(http, 200, self._scrape(names), metrics.CONTENT_TYPE)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None
