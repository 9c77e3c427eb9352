"""An HTTP request as it crosses the border to a service, and what methods are handed of it that is no JSON: files,
and the request itself as Starlette has it. Knows no endpoint.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dragoman.runtimes.service.forms import Upload
from dragoman.runtimes.service.parameters import EMPTY, Parameter


@dataclass(frozen=True, slots=True)
class HttpCall:
    """An HTTP request as it crosses the border. ``path`` are the values of the path's parameters, in order."""

    endpoint: str
    method: str
    url: str
    query: str
    path: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, in lower case; empty where there is none."""
        return next((value for key, value in self.headers if key == name), "")


def read_call(parameters: Mapping[str, Any], body: bytes) -> HttpCall:
    """The call out of a request's parameters, as ``protocols.service.codec`` has put it there."""
    said = parameters["http"]
    headers = tuple((str(name), str(value)) for name, value in said["headers"])
    return HttpCall(
        said["endpoint"], said["method"], said["url"], said["query"], tuple(said["path"]), headers, body
    )


def make_file(each: Parameter, value: Any) -> Any:
    """What the method wants of a file: an ``UploadFile``, or bytes. ``EMPTY`` for what is no file."""
    if isinstance(value, bytes | str):  # from a tensor, or a field of a form
        if isinstance(value, str) and each.upload is not None:
            return EMPTY
        value = Upload(value.encode() if isinstance(value, str) else value)
    if not isinstance(value, Upload):
        return EMPTY
    if each.upload is None:
        return value.content
    return _upload_file(each.upload, value)


def _upload_file(kind: type[Any], upload: Upload) -> Any:
    from starlette.datastructures import Headers

    headers = Headers({"content-type": upload.content_type} if upload.content_type else {})
    file = io.BytesIO(upload.content)
    return kind(file, size=len(upload.content), filename=upload.filename, headers=headers)


def make_request(call: HttpCall | None) -> Any:
    """Starlette's ``Request``, complete with its body; for other protocols one without headers."""
    from starlette.requests import Request

    call = call or HttpCall("", "POST", "http://localhost/", "", (), (), b"")
    scheme, _, rest = call.url.partition("://")
    host, _, path = rest.partition("/")
    name, _, port = host.rpartition(":") if ":" in host else (host, "", "")
    raw = "/" + path.partition("?")[0]
    scope: dict[str, Any] = {
        "type": "http",
        "method": call.method,
        "scheme": scheme,
        "server": (name, int(port) if port.isdigit() else None),
        "path": raw,
        "raw_path": raw.encode(),
        "root_path": "",
        "query_string": call.query.encode("latin-1"),
        "headers": [(key.encode("latin-1"), value.encode("latin-1")) for key, value in call.headers],
        "http_version": "1.1",
        "client": None,
        "state": {},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": call.body, "more_body": False}

    return Request(scope, receive)
