"""Which handler answers which method. Knows names and shapes, no bytes and no engine."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dragoman.transport.auth import OPERATIONS, About
from dragoman.transport.grpc.call import Handler, Shape


@dataclass(frozen=True, slots=True)
class Route:
    """A method and who answers it.

    ``operation`` is what a client does with it, and ``about`` what it says of models, which decide whether it may. A
    method without ``permit`` answers when the server is full, too, and is no reason for it to go on when it stops.
    """

    service: str
    method: str
    shape: Shape
    handler: Handler
    operation: str
    permit: bool = True
    about: About = About.MODELS

    @property
    def path(self) -> str:
        """As the client writes it."""
        return f"/{self.service}/{self.method}"


class Routes:
    """Every method of every service. A path is found as it is written here, letter for letter, or not at all."""

    def __init__(self, taps: Mapping[str, Callable[[Handler], Handler]] | None = None) -> None:
        """``taps`` is what is put around the handlers of an operation."""
        self._taps = taps or {}
        self._routes: dict[bytes, Route] = {}

    def add(
        self,
        service: str,
        method: str,
        shape: Shape,
        handler: Handler,
        operation: str,
        *,
        permit: bool = True,
        about: About = About.MODELS,
    ) -> None:
        """Answer ``/service/method``. Raises ValueError if somebody does already, or for an unknown operation."""
        if operation not in OPERATIONS:
            raise ValueError(f"/{service}/{method} has the unknown operation {operation!r}")
        if operation in self._taps:
            handler = self._taps[operation](handler)
        route = Route(service, method, shape, handler, operation, permit, about)
        if self._routes.setdefault(route.path.encode(), route) is not route:
            raise ValueError(f"{route.path} has a handler already")

    def find(self, path: bytes) -> Route | None:
        """Who answers this path; ``None`` where nobody does."""
        return self._routes.get(path)

    def services(self) -> list[str]:
        """The names of the services, in the order added."""
        return list(dict.fromkeys(route.service for route in self._routes.values()))

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())
