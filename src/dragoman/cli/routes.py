"""``dragoman routes``: every path and method that a server answers. Builds the routes and starts nothing."""

import inspect
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from dragoman.cli.flags import AsJson

if TYPE_CHECKING:
    from dragoman.transport.grpc.routes import Route as GrpcRoute
    from dragoman.transport.router import Route

EXAMPLES = """
Examples:

dragoman routes

dragoman routes --json
"""


def routes(
    as_json: AsJson = False,
) -> None:
    """List every route of a server and every method of its gRPC services; {} stands for a part of the path."""
    from dragoman.app import App, grpc_routes
    from dragoman.cli import output
    from dragoman.config import Settings
    from dragoman.running import run
    from dragoman.transport.grpc.installed import installed

    app = App(Settings(), ())

    async def build() -> None:
        app.build()

    run(build())
    # A pattern is a path that it matches itself.
    found = [app.router.find(route.methods[0], route.pattern)[0] for route in app.router.routes()]
    lines = [_describe(route) for route in found]
    if installed():
        lines += [_describe_method(method) for method in grpc_routes(app)]
    if as_json:
        output.print_json(lines)
        return
    rows = [
        (" ".join(line["methods"]), output.text(line["path"]), line["part"], output.text(line["about"]))
        for line in lines
    ]
    output.console().print(output.table(("methods", "path", "part", "what for"), rows))


def _describe(route: "Route") -> dict[str, Any]:
    """``part`` is the package or module whose handler answers."""
    handler = route.handler
    about = route.name.strip("_").replace("_", " ")
    if inspect.isroutine(handler) and handler.__doc__:
        about = re.split(r"[.:;]", handler.__doc__.strip(), maxsplit=1)[0].replace("``", "")
    return {"methods": list(route.methods), "path": route.pattern, "part": _part(handler), "about": about}


def _describe_method(route: "GrpcRoute") -> dict[str, Any]:
    about = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", route.method).lower()
    return {"methods": ["gRPC"], "path": route.path, "part": _part(route.handler), "about": about}


def _part(handler: Any) -> str:
    """The package or module that it is from."""
    handler = handler.func if isinstance(handler, partial) else handler
    module: str = getattr(handler, "__module__", type(handler).__module__)
    return module.removeprefix("dragoman.").removeprefix("protocols.").partition(".")[0]
