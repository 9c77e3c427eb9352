"""The desired state, kept: which models, versions, shares and sizes the operators want, who changed what, and the way
back.

SQLAlchemy is imported when a state is opened, not before: a server without management has no use for it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.errors import ConfigError
from dragoman.store.history import Change
from dragoman.store.state import Model, Version

if TYPE_CHECKING:
    from dragoman.store.database import Store

__all__ = ["Change", "Model", "Version", "open_store"]


def open_store(where: str | Path) -> "Store":
    """The state in a SQLite file, made where there is none, or in the database of a URL of SQLAlchemy's.

    Blocks. Raises ConfigError: StateUnreadable for a state that is damaged, newer, or something else.
    """
    try:
        from dragoman.store.database import open_database
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "sqlalchemy":
            raise
        hint = "pip install 'dragoman[store]'"
        raise ConfigError("keeping state needs SQLAlchemy, which is not installed", hint=hint) from error
    return open_database(where)
