"""The page over HTTP: ``/`` for who wants HTML, and the files that belong to it. Knows no model and no engine.

A browser is told to run nothing but these files, and to ask each time whether they are still the same.
"""

from collections.abc import Callable
from typing import Final

from dragoman.dashboard.files import INDEX, File, read_files
from dragoman.errors import NotFound
from dragoman.transport import compression
from dragoman.transport.answer import lines_of
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router

#: Nothing from elsewhere, nothing inline, no text that becomes markup; pictures may also be made of an answer's bytes.
POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = lines_of(
    (
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
    )
)


class Http:
    """Handlers over the files. ``others`` answers programs that ask for ``/``, if it has an answer."""

    def __init__(self, others: Callable[[HttpRequest], bool] = lambda http: False) -> None:
        self._files = read_files()
        self._others = others

    def add_routes(self, router: Router) -> None:
        router.add("GET", "/", self.page, permit=False, operation="pages")
        router.add("GET", "/page/{}", self.file, permit=False, operation="pages")

    def page(self, http: HttpRequest) -> None:
        """The page for browsers; for others, KServe's v1 clients among them, that the server is alive."""
        if "text/html" in (http.header(b"accept") or ""):
            _send(http, self._files[INDEX], "Accept, Accept-Encoding")
        elif not self._others(http):
            http.respond(200, b'{"status":"alive"}', headers=(("Vary", "Accept"),))

    def file(self, http: HttpRequest) -> None:
        file = self._files.get(http.params[0])
        if file is None:
            raise NotFound(f"the page has no file {http.params[0]!r}")
        _send(http, file, "Accept-Encoding")


def _send(http: HttpRequest, file: File, vary: str) -> None:
    gzip = compression.choose(http.header(b"accept-encoding")) == "gzip"
    tag = file.small_tag if gzip else file.tag
    headers = [("ETag", tag), ("Vary", vary)]
    if _matches(http.header(b"if-none-match"), tag):
        http.respond(304, b"", "", headers, common=_HEADERS)
        return
    if gzip:
        headers.append(("Content-Encoding", "gzip"))
    http.respond(200, file.small if gzip else file.body, file.content_type, headers, common=_HEADERS)


def _matches(given: str | None, tag: str) -> bool:
    """Whether an If-None-Match names this ETag; weak ones count (RFC 9110, 13.1.2)."""
    named = [each.strip().removeprefix("W/") for each in (given or "").split(",")]
    return tag in named or named == ["*"]
