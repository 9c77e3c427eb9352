"""``dragoman routes``: every path that a server answers. Builds the routes and starts nothing."""

import inspect
import re
from typing import TYPE_CHECKING, Any

from dragoman.cli.flags import AsJson

if TYPE_CHECKING:
    from dragoman.transport.router import Route

EXAMPLES = """
Examples:

dragoman routes

dragoman routes --json
"""


def routes(
    as_json: AsJson = False,
) -> None:
    """List every route of a server; {} stands for a part of the path."""
    from dragoman.app import App, run
    from dragoman.cli import output
    from dragoman.config import Settings

    app = App(Settings(), ())

    async def build() -> None:
        app.build()

    run(build())
    # A pattern is a path that it matches itself.
    found = [app.router.find(route.methods[0], route.pattern)[0] for route in app.router.routes()]
    lines = [_describe(route) for route in found]
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
    module = getattr(handler, "__module__", type(handler).__module__)
    part = module.removeprefix("dragoman.").removeprefix("protocols.").partition(".")[0]
    about = route.name.strip("_").replace("_", " ")
    if inspect.isroutine(handler) and handler.__doc__:
        about = re.split(r"[.:;]", handler.__doc__.strip(), maxsplit=1)[0].replace("``", "")
    return {"methods": list(route.methods), "path": route.pattern, "part": part, "about": about}
