"""``kserve.model_server.app``: the application to which programs add routes and middleware. Empty by default.

Routes of its own are asked for what the server does not know itself. Middleware stands before everything: then each
request goes through the application, and through it to our routes.
"""

from typing import Any

from dragoman.config import LimitSettings
from dragoman.transport.asgi import AsgiBridge
from dragoman.transport.hosted import HostedRoutes
from dragoman.transport.http import Finder
from dragoman.transport.router import Match, Route, Router


def make_application() -> Any:
    """FastAPI's where that is installed, for its decorators; else Starlette's."""
    try:
        from fastapi import FastAPI
    except ImportError:
        from starlette.applications import Starlette

        return Starlette()
    return FastAPI(title="Dragoman", docs_url=None, redoc_url=None, openapi_url=None)


class Front:
    """The program's application before or behind our routes."""

    def __init__(self, application: Any, router: Router, limits: LimitSettings) -> None:
        self._application = application
        self._router = router
        self.bridge = AsgiBridge(application)
        self._all = bool(application.user_middleware)
        if self._all:
            application.router.redirect_slashes = False
            application.router.default = HostedRoutes(
                router, body_bytes=limits.body_bytes, permits=limits.requests
            )
            self._route = Route((), "", self.bridge, streaming=True)
        else:
            router.fallback(self.bridge)

    @property
    def find(self) -> Finder:
        """What finds the route of a request."""
        return self._front if self._all else self._router.find

    def _front(self, method: str, path: str) -> Match:
        return self._route, ()
