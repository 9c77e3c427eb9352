"""Who may, kept: users, keys, sessions, what was used, and what was done by whom.

SQLAlchemy is imported when accounts are opened, not before: the values are plain.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.store.accounts.values import Entry, Key, Session, SigningKey, Snapshot, User
from dragoman.store.installed import needs_sqlalchemy

if TYPE_CHECKING:
    from dragoman.store.accounts.database import AccountStore

__all__ = ["Entry", "Key", "Session", "SigningKey", "Snapshot", "User", "open_accounts"]


def open_accounts(where: str | Path) -> "AccountStore":
    """The accounts in a SQLite file, made where there is none, or in the database of a URL of SQLAlchemy's.

    A file or database may hold the state of the models, too. Blocks. Raises ConfigError.
    """
    with needs_sqlalchemy("keeping keys and users"):
        from dragoman.store.accounts.database import open_database
    return open_database(where)
