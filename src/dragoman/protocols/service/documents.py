"""``/docs`` and ``/redoc``: pages over a service's OpenAPI document, whose scripts come from an installed package.

Nothing is fetched from anywhere: a policy in the pages' head forbids it. Knows no service.
"""

from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dragoman.errors import NotFound

#: Where the pages' scripts are; no service can be called so.
ASSETS: Final = "services/.assets"
#: The package that brings them, and each file's type.
PACKAGE: Final = "fastapi_offline"
FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:"
)
#: The one picture that ReDoc would fetch from elsewhere, and an empty one.
_LOGO: Final = (
    b"https://cdn.redoc.ly/redoc/logo-mini.svg",
    b"data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==",
)

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="{assets}/favicon.png">"""
_DOCS: Final = (
    _HEAD
    + """<link rel="stylesheet" href="{assets}/swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="{assets}/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{
  url: "./openapi.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"
}});
</script></body></html>
"""
)
_REDOC: Final = (
    _HEAD
    + """<style>body {{ margin: 0 }}</style></head>
<body><div id="redoc"></div><script src="{assets}/redoc.standalone.js"></script>
<script>Redoc.init("./openapi.json", {{ disableSearch: false }}, document.getElementById("redoc"));</script>
</body></html>
"""
)


def page(kind: str, title: str, path: str) -> bytes:
    """The page ``docs`` or ``redoc`` as it is shown under ``path``: its links are relative, for proxies' sake."""
    assets = "../" * (path.count("/") - 1) + ASSETS
    template = _DOCS if kind == "docs" else _REDOC
    return template.format(title=escape(title), assets=assets).encode()


@cache
def asset(name: str) -> tuple[bytes, str]:
    """A file of the pages, and its type. Raises NotFound."""
    spec = find_spec(PACKAGE) if name in FILES else None
    place = Path(spec.origin).parent / "static" / name if spec is not None and spec.origin else None
    if place is None or not place.is_file():
        raise NotFound(f"there is no {name}; the pages' scripts come with pip install 'dragoman[service]'")
    return place.read_bytes().replace(*_LOGO), FILES[name]
