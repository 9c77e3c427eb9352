"""Tables for people and JSON for programs, on standard output. Imports rich, so commands import this when they run."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dragoman.log import escape as escape_controls

COLOURS: Final = {"READY": "green", "FAILED": "red", "UNAVAILABLE": "red", "problem": "red", "ok": "green"}


def console() -> Console:
    """Standard output: coloured on a terminal, unless NO_COLOR says otherwise; never folded elsewhere."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Cells are rich's markup: see ``text``."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(escape(column), overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def plain(value: str) -> str:
    """Somebody else's words without control characters, for what is no table."""
    return escape_controls(value)


def text(value: str) -> str:
    """Somebody else's word for a cell: no markup, no control characters."""
    return escape("\n".join(map(escape_controls, value.splitlines())))


def state(word: str) -> str:
    """A state in its colour."""
    colour = COLOURS.get(word, "yellow")
    return f"[{colour}]{word}[/]"


def print_json(document: Any) -> None:
    """The whole answer as JSON, for programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
