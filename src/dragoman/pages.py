"""What a person sees in a browser: one page that tells which models answer, and how to ask them.

An ordinary ASGI application over the engine; everything on the page comes with it, so it works offline.
"""

from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dragoman import __version__
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Record, State
from dragoman.errors import NotFound
from dragoman.transport.router import Router
from dragoman.types import TensorSpec


def pages(engine: Engine, router: Router) -> ASGIApp:
    """The application behind ``/``."""

    async def index(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"status": "alive"})  # no browser: KServe's v1 clients ask this for liveness
        models = "".join(_model(engine, record) for record in engine.index())
        routes = "".join(
            f"<tr><td>{' '.join(route.methods)}</td><td><code>{escape(route.pattern)}</code></td></tr>"
            for route in router.routes()
        )
        return HTMLResponse(_PAGE.format(version=__version__, models=models or _NO_MODELS, routes=routes))

    return Starlette(routes=[Route("/", index)])


def _model(engine: Engine, record: Record) -> str:
    state = record.state.value
    about = escape(record.reason)
    if record.state is State.READY:
        try:
            signature = engine.find(record.name, record.version).signature
        except NotFound:
            return ""
        about = f"{_tensors(signature.inputs)} <span>&rarr;</span> {_tensors(signature.outputs)}"
    return (
        f"<tr><td><b>{escape(record.name)}</b></td><td>{escape(record.version)}</td>"
        f"<td><i class='{state}'>{state}</i></td><td>{about}</td></tr>"
    )


def _tensors(specs: tuple[TensorSpec, ...]) -> str:
    if not specs:
        return "<span>anything</span>"
    return ", ".join(
        f"<code>{escape(spec.name)}</code> {spec.datatype}[{','.join('?' if n < 0 else str(n) for n in spec.shape)}]"
        for spec in specs
    )


_NO_MODELS = "<tr><td colspan=4>no models</td></tr>"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Dragoman</title><style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #888; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; margin: 0; }} h2 {{ font-size: 1.05rem; margin: 2.2rem 0 .4rem; }}
p, span {{ color: var(--soft); }} p {{ margin: .2rem 0; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ border-top: 1px solid var(--line); padding: .45rem .8rem .45rem 0; vertical-align: top; }}
code {{ font: .9em ui-monospace, monospace; }}
i {{ font-style: normal; font-size: .8em; font-weight: 600; }}
.READY {{ color: #1a9c5b; }} .FAILED {{ color: #d64545; }} .LOADING, .DRAINING {{ color: #c98a12; }}
</style></head><body>
<h1>Dragoman</h1><p>version {version} &middot; one server, every inference dialect</p>
<h2>Models</h2><table>{models}</table>
<h2>Routes</h2><table>{routes}</table>
</body></html>
"""
