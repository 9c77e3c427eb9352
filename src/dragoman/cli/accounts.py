"""What the commands about users and keys share: the store that the settings name, opened, and whose doing it is.

They work on the store, not on a server: the first key comes from somewhere, and a server that runs sees it in a second.
"""

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragoman.cli.failure import FAILED, Failure
from dragoman.config import load
from dragoman.errors import ConfigError, DragomanError

if TYPE_CHECKING:
    from dragoman.users.registrar import By, Registrar

Store = Annotated[
    str,
    typer.Option(
        metavar="STORE", help="Where users and keys are kept; without it auth.store, of the settings."
    ),
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE", help="infer, read, manage or admin; may be repeated."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="PATTERN", help="Only models whose names match, as in 'iris-*'; may be repeated."
    ),
]


@contextmanager
def opened(store: str, config: Path | None) -> Iterator["Registrar"]:
    """The registrar over the store. Raises Failure with what the store says."""
    from dragoman.store.accounts import open_accounts
    from dragoman.users.access import store_of
    from dragoman.users.registrar import Registrar

    settings = load(config, os.environ, {}).settings
    where = store or store_of(settings)
    if not where:
        raise ConfigError(
            "no place is named where users and keys are kept", hint="--store accounts.db, or auth.store"
        )
    accounts = open_accounts(where)
    try:
        yield Registrar(accounts, settings.auth.access_lifetime)
    except DragomanError as error:
        raise Failure(error.message, code=FAILED) from error
    finally:
        accounts.close()


def operator() -> "By":
    """Whoever sits at this machine."""
    from dragoman.users.registrar import By

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        name = str(os.getuid())
    return By(f"{name} at the command line")


def when(seconds: float) -> str:
    """A time for people, in UTC; empty for 0."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds)) if seconds else ""


def told(document: dict[str, Any], line: str, as_json: bool) -> None:
    """One line for people, or the document."""
    from dragoman.cli import output

    if as_json:
        output.print_json(document)
    else:
        print(output.plain(line))
