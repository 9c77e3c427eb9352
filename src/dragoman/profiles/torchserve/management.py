"""The management and metrics ports: each API behind its door, and the keys. Knows no address."""

from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

from dragoman.metrics import torchserve as metrics
from dragoman.profiles.torchserve.doors import Doors
from dragoman.protocols.torchserve import management
from dragoman.protocols.torchserve.http import METHODS
from dragoman.protocols.torchserve.openapi import metrics_paths
from dragoman.protocols.torchserve.port import Port
from dragoman.transport.request import Guard, Header, HttpRequest
from dragoman.transport.router import Router


class Management(management.Http):
    """``/models`` and ``/workflows`` for who has the management key, and ``/token`` for who has the API key."""

    def __init__(
        self,
        models: management.Models,
        workflows: management.WorkflowHttp,
        doors: Doors,
        *,
        model_api: bool,
        headers: Sequence[Header],
    ) -> None:
        super().__init__(models, model_api=model_api, headers=headers)
        self._workflows = workflows
        self._doors = doors
        if doors.locked:
            described = {"200": {"description": "OK"}}
            self._paths["/token"] = {"get": {"operationId": "token", "responses": described}}

    def add_routes(self, router: Router, guard: Guard | None = None, *, shared: bool = False) -> None:
        """``shared`` says that another port's API has taken ``/`` and the paths that nobody has."""
        guard = self._doors.guard("management", self.answering)
        if self._doors.locked:
            renewing = self.answering(self._doors.authorize_renewal)
            router.add(METHODS, "/token", self.answering(self.renew), permit=False, guard=renewing)
        super().add_routes(router, guard)
        self._workflows.add_management_routes(router, guard)
        if not shared:
            self.add_common_routes(router, guard)

    def renew(self, http: HttpRequest) -> None:
        """The new key is in the file only."""
        self._doors.renew(http)
        self.respond(http, 200, b"\n")


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
