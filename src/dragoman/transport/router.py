"""Which handler answers which path. Knows patterns and methods, no bytes and no protocol of any wire."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote

from dragoman.errors import InvalidInput
from dragoman.transport.auth import OPERATIONS, About
from dragoman.transport.request import Guard, Handler, HttpRequest

#: Paths that were found are remembered, up to this many and up to this length: a stranger chooses paths.
CACHED_PATHS: Final = 4096
CACHED_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class Route:
    """A pattern's answer to some methods.

    ``streaming`` handlers are called when the head is complete and read the body themselves; the others when
    the body is there. A route without ``permit`` answers under overload too. A ``guard`` looks at heads first.
    ``operation`` is what a client does here, and ``about`` the place of the ``{}`` that names the model, which decide
    whether it may.
    """

    methods: tuple[str, ...]
    pattern: str
    handler: Handler
    streaming: bool = False
    permit: bool = True
    guard: Guard | None = None
    operation: str = ""
    about: int | About = About.MODELS

    @property
    def name(self) -> str:
        return getattr(self.handler, "__name__", type(self.handler).__name__)


Match = tuple[Route, tuple[str, ...]]
#: Puts something around the handler of a pattern.
Tap = Callable[[Handler, str], Handler]
#: Makes the guard that asks who may come in at a route: its operation, its pattern, what of models it is about.
Admit = Callable[[str, str, int | About], Guard | None]
_Candidate = tuple[re.Pattern[str], str]


class RouteInfo(NamedTuple):
    """A line of the table of routes, for people."""

    methods: tuple[str, ...]
    pattern: str
    name: str


class Router:
    """Literal paths by look-up, patterns by number of slashes; the one with the most literal text wins.

    A pattern that ends with ``{*}`` is there for any number of slashes. With ``guards``, by operation, every route
    must declare its own. ``admit`` makes guards that are asked before those.
    """

    def __init__(self, guards: Mapping[str, Guard] | None = None, admit: Admit | None = None) -> None:
        self._guards = guards
        self._admit = admit
        #: What is put around the handlers of an operation that are added from now on.
        self.taps: Mapping[str, Tap] = {}
        self._routes: list[Route] = []
        self._literal: dict[str, list[Route]] = {}
        self._patterns: dict[int, list[_Candidate]] = {}
        self._rests: list[_Candidate] = []
        self._by_pattern: dict[str, list[Route]] = {}
        self._cache: dict[tuple[str, str], Match] = {}
        self._missing = Route((), "", _not_found)

    def add(
        self,
        methods: str | Iterable[str],
        pattern: str,
        handler: Handler,
        *,
        streaming: bool = False,
        permit: bool = True,
        guard: Guard | None = None,
        operation: str = "",
        about: int | About = About.MODELS,
        tapped: bool = True,
    ) -> None:
        """Serves ``pattern``, in which each ``{}`` matches a part of one segment: anything but a slash.

        A last segment ``{*}`` matches the rest of the path, which is not empty and may have slashes. ``about`` is the
        place of the one that names a model, from 0; of ``{*}`` its first segment does. A route that is not ``tapped``
        passes on what another one will see.
        """
        names = (methods,) if isinstance(methods, str) else tuple(methods)
        if not pattern.startswith("/") or not names:
            raise ValueError(f"a route needs methods and a path that starts with a slash, got {pattern!r}")
        if self._guards is not None and operation not in OPERATIONS:
            raise ValueError(f"the route {pattern} has the unknown operation {operation!r}")
        guard = _both(self.guarding(operation, pattern, about), guard)
        if tapped and operation in self.taps:
            handler = self.taps[operation](handler, pattern)
        route = Route(names, pattern, handler, streaming, permit, guard, operation, about)
        same = self._by_pattern.setdefault(pattern, [])
        taken = {method for other in same for method in other.methods}.intersection(names)
        if taken:
            raise ValueError(f"{' and '.join(sorted(taken))} {pattern} has a route already")
        rest = pattern.endswith("/{*}")
        if "{*}" in (pattern[:-3] if rest else pattern):
            raise ValueError(f"{{*}} can only be a path's last segment, got {pattern!r}")
        if not same and "{" in pattern:
            candidates = self._rests if rest else self._patterns.setdefault(pattern.count("/"), [])
            candidates.append((_compile(pattern), pattern))
        elif not same:
            self._literal[pattern] = same
        same.append(route)
        self._routes.append(route)
        self._cache.clear()

    def guarding(self, operation: str, pattern: str = "", about: int | About = About.MODELS) -> Guard | None:
        """The guard of an operation: of a route, or of paths that ``fallback`` answers."""
        guard = None if self._guards is None else self._guards.get(operation)
        return guard if self._admit is None else _both(self._admit(operation, pattern, about), guard)

    def fallback(self, handler: Handler, *, streaming: bool = True, guard: Guard | None = None) -> None:
        """Whatever no pattern matches goes to ``handler``, every method of it.

        ``guard`` is also asked about what the router answers itself: wrong methods and ``OPTIONS *``.
        """
        self._missing = Route((), "", handler, streaming, guard=guard)

    def routes(self) -> list[RouteInfo]:
        """Every route in the order added, for documentation and tests."""
        return [RouteInfo(route.methods, route.pattern, route.name) for route in self._routes]

    def find(self, method: str, path: str) -> Match:
        """The route for a raw path and what its ``{}`` matched, percent-decoded. There always is one:
        unknown paths and wrong methods have routes that say so. Raises InvalidInput for what is no UTF-8.
        """
        key = (method, path)
        found = self._cache.get(key)
        if found is None:
            found = self._search(method, path)
            if found[0].methods and len(path) <= CACHED_LENGTH:
                if len(self._cache) >= CACHED_PATHS:
                    self._cache.clear()
                self._cache[key] = found
        return found

    def _search(self, method: str, path: str) -> Match:
        routes = self._literal.get(path)
        parts: tuple[str, ...] = ()
        if routes is None:
            candidates = [*self._patterns.get(path.count("/"), ()), *self._rests]
            for expression, pattern in sorted(candidates, key=_literal, reverse=True):
                match = expression.fullmatch(path)
                if match is not None:
                    routes, parts = self._by_pattern[pattern], match.groups()
                    break
        if routes is None:
            if path == "*":
                return self._own("*", 204, self._routes), ()
            return self._missing, ()
        for wanted in (method, "GET") if method == "HEAD" else (method,):
            for route in routes:
                if wanted in route.methods:
                    return route, tuple(map(_decode, parts))
        return self._own(path, 405, routes), ()

    def _own(self, path: str, status: int, routes: list[Route]) -> Route:
        """A route of the router's own, which tells the methods there are."""
        return Route((), path, _Allow(status, routes), guard=self._missing.guard)


def _both(first: Guard | None, second: Guard | None) -> Guard | None:
    if first is None or second is None:
        return first or second

    def guard(request: HttpRequest) -> None:
        first(request)
        second(request)

    return guard


def _compile(pattern: str) -> re.Pattern[str]:
    expression = "([^/]+)".join(re.escape(part) for part in pattern.removesuffix("{*}").split("{}"))
    return re.compile(expression + ("(.+)" if pattern.endswith("{*}") else ""))


def _literal(candidate: _Candidate) -> int:
    """How much of a pattern is literal text."""
    return len(candidate[1].removesuffix("{*}").replace("{}", ""))


def _decode(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput("the path is not valid UTF-8") from None


def _not_found(request: HttpRequest) -> None:
    request.respond(404, b'{"error":"Not Found"}')


class _Allow:
    """Says which methods there are: the answer to a wrong one, and to ``OPTIONS *``."""

    def __init__(self, status: int, routes: list[Route]) -> None:
        methods = {method for route in routes for method in route.methods}
        self._status = status
        self._allow = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    def __call__(self, request: HttpRequest) -> None:
        body = b'{"error":"Method Not Allowed"}' if self._status == 405 else b""
        request.respond(self._status, body, headers=(("Allow", self._allow),))
