"""``dragoman run``: a program that imports another server's package, run with Dragoman's in its place."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from dragoman.cli.failure import USAGE, Failure

EXAMPLES = """
Examples:

dragoman run --as kserve model.py --http_port 8080

dragoman run --as kserve --dialect 0.13 transformer.py --predictor_host localhost:8081
"""

#: Everything behind the program's name is the program's own.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def run(
    context: typer.Context,
    program: Annotated[
        Path,
        typer.Argument(metavar="PROGRAM", help="A Python file; what follows is its own.", show_default=False),
    ],
    surface: Annotated[str, typer.Option("--as", help="Whose package it imports: kserve or ts.")] = "kserve",
    dialect: Annotated[
        str,
        typer.Option("--dialect", help="Which version's API: 0.13 or 0.21 for kserve; empty is the newest."),
    ] = "",
) -> None:
    """Run a Python program unchanged, with Dragoman in the place of the package that it imports."""
    if not program.is_file():
        raise Failure(f"there is no program {str(program)!r}", hint="name a Python file", code=USAGE)
    from dragoman.compat.paths import use
    from dragoman.repository.cache import cache_directory

    use(surface, dialect, cache_directory("compat"))
    sys.argv = [str(program), *context.args]
    sys.path.insert(0, str(program.parent.absolute()))
    runpy.run_path(str(program), run_name="__main__")
