"""The request as models see it that want more than its fields: a Starlette request, and a response for its headers."""

from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dragoman.transport.asgi import scope_of
from dragoman.transport.request import Header, HttpRequest


class RawRequest(Request):
    """A request whose body is there already."""

    def __init__(self, http: HttpRequest) -> None:
        super().__init__(scope_of(http))
        self._whole = bytes(http.body)
        self.gone = False

    async def body(self) -> bytes:
        return self._whole

    async def stream(self) -> AsyncGenerator[bytes, None]:
        yield self._whole

    async def is_disconnected(self) -> bool:
        return self.gone


def make_context(raw: RawRequest) -> dict[str, Any]:
    """What KServe passes as ``context``: the request's headers, and a response on which a model may set some."""
    response = Response()
    del response.headers["content-length"]
    return {"headers": dict(raw.headers), "response": response}


def headers_of(context: dict[str, Any]) -> list[Header]:
    """What a model has set on the response."""
    headers = context["response"].raw_headers
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
