"""``dragoman demo``: hands over to the demo, whose libraries need not be installed otherwise."""

from typing import Annotated

import typer

EXAMPLES = """
Examples:

dragoman demo

dragoman demo --once
"""


def demo(
    once: Annotated[bool, typer.Option("--once", help="Ask everything once and exit.")] = False,
    host: Annotated[str, typer.Option(metavar="STRING", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(metavar="INTEGER", help="TCP port; without it 8080, or a free one if that is taken."),
    ] = None,
) -> None:
    """Serve real models, ask them in every dialect, and keep serving."""
    from dragoman.demo import run

    raise typer.Exit(run(once=once, host=host, port=port))
