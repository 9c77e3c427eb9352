"""``dragoman compat-path``: a folder for PYTHONPATH in which ``import ts`` or ``import kserve`` is Dragoman's."""

from typing import Annotated

import typer

EXAMPLES = """
Examples:

PYTHONPATH=$(dragoman compat-path kserve) python model.py

PYTHONPATH=$(dragoman compat-path ts) pytest test_handler.py
"""


def compat_path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="ts or kserve.", show_default=False)],
    dialect: Annotated[
        str,
        typer.Option("--dialect", help="Which version's API: 0.13 or 0.21 for kserve; empty is the newest."),
    ] = "",
) -> None:
    """Print the folder that gives other people's code the API it imports."""
    from dragoman.compat.paths import write_path
    from dragoman.repository.cache import cache_directory

    print(write_path(name, dialect, cache_directory("compat")))
