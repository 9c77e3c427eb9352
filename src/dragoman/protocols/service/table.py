"""Which service answers which path: a table made of what the loaded ones say of themselves. Knows no request.

Every service answers under ``/services/{name}``, and under its own prefix: the server's root, unless it says otherwise.
Where two want the same path there, the one whose name comes first has it.
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from dragoman.engine.model import Model
from dragoman.engine.registry import Registry
from dragoman.errors import NotFound
from dragoman.transport.request import Handler
from dragoman.transport.router import Router

log = logging.getLogger("dragoman.protocols.service")

KIND: Final = "service"
_NAME: Final = re.compile(r"{\w+}")


class Handlers(Protocol):
    """Who makes the handlers of a service's paths. ``prefix`` is what comes before them."""

    def ask(self, name: str, endpoint: str) -> Handler: ...
    def health(self, name: str) -> Handler: ...
    def document(self, name: str, prefix: str) -> Handler: ...
    def page(self, name: str, kind: str) -> Handler: ...


class Table:
    """The paths of every service that can answer. Made anew when a model comes or goes."""

    def __init__(self, registry: Registry, handlers: Handlers, taken: Callable[[str, str], bool]) -> None:
        """``taken`` says whether a method and path are the server's own."""
        self.changes = registry.changes
        self.root = Router()
        self.named: dict[str, Router] = {}
        self.home = ""  #: the service that ``GET /`` tells about; "" where none is at the root
        for name, description in services(registry):
            self.named[name] = Router()
            for method, path, handler in _paths(name, f"/services/{name}", description, handlers):
                self.named[name].add(method, path, handler)
            prefix = description["path"].rstrip("/")
            if not prefix and not self.home:
                self.home = name
            for method, path, handler in _paths(name, prefix, description, handlers):
                if prefix or path != "/":
                    self._add(name, method, prefix + path if path != "/" else prefix, handler, taken)

    def _add(
        self, name: str, method: str, path: str, handler: Handler, taken: Callable[[str, str], bool]
    ) -> None:
        labels = {"service": name, "path": f"{method} {path}"}
        if taken(method, path):
            log.warning("a path of a service is the server's own: ask /services", extra=labels)
            return
        try:
            self.root.add(method, path, handler)
        except ValueError:
            log.warning("a path is another service's already: ask /services", extra=labels)


def services(registry: Registry) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and description of every service that can answer, by name."""
    found = []
    for name in registry.names():
        try:
            model: Model = registry.find(name)
        except NotFound:
            continue
        if model.description is not None and model.description.get("kind") == KIND:
            found.append((name, model.description))
    return found


def _paths(
    name: str, prefix: str, description: Mapping[str, Any], handlers: Handlers
) -> list[tuple[str, str, Handler]]:
    endpoints = [
        (each["method"], _NAME.sub("{}", each["path"]), handlers.ask(name, each["name"]))
        for each in description["endpoints"]
    ]
    own = [("GET", "/", handlers.health(name))]
    if description["openapi"] is not None:
        own += [
            ("GET", "/openapi.json", handlers.document(name, prefix)),
            ("GET", "/docs", handlers.page(name, "docs")),
            ("GET", "/redoc", handlers.page(name, "redoc")),
        ]
    said = {(method, path) for method, path, _ in endpoints}
    return endpoints + [each for each in own if each[:2] not in said]
