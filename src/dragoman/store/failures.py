"""What databases raise, in the words of this project. Knows the errors' numbers, not what was being done."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from dragoman.errors import Conflict, DragomanError, InvalidInput, NotReady, ReadOnly, StorageFailed

_IN_BETWEEN: Final = "somebody else changed the model in between: look at it again"
_DISK: Final = "the disk doesn't take the change: nothing has changed"
_DAMAGED: Final = "the state is damaged"
_READ_ONLY: Final = "the state can only be read here"
_BUSY: Final = "somebody else is changing the state: try again"
_NO_TEXT: Final = "a name holds a character that can't be kept"
_AWAY: Final = "the database of the state doesn't answer"

#: SQLite's primary result codes.
_SQLITE: Final[dict[int, tuple[type[DragomanError], str]]] = {
    sqlite3.SQLITE_FULL: (StorageFailed, _DISK),
    sqlite3.SQLITE_IOERR: (StorageFailed, _DISK),
    sqlite3.SQLITE_CANTOPEN: (StorageFailed, _DISK),
    sqlite3.SQLITE_READONLY: (ReadOnly, _READ_ONLY),
    sqlite3.SQLITE_BUSY: (NotReady, _BUSY),
    sqlite3.SQLITE_LOCKED: (NotReady, _BUSY),
    sqlite3.SQLITE_CORRUPT: (StorageFailed, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (StorageFailed, _DAMAGED),
    sqlite3.SQLITE_CONSTRAINT: (Conflict, _IN_BETWEEN),
}
#: The SQL standard's classes of SQLSTATE, the longest that fits first (PostgreSQL's 53 and 58 are its own).
_SQLSTATE: Final[dict[str, tuple[type[DragomanError], str]]] = {
    "25006": (ReadOnly, _READ_ONLY),
    "42501": (ReadOnly, _READ_ONLY),
    "23": (Conflict, _IN_BETWEEN),
    "40": (Conflict, _IN_BETWEEN),
    "53": (StorageFailed, _DISK),
    "58": (StorageFailed, _DISK),
}


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raises Conflict, StorageFailed, ReadOnly, NotReady or InvalidInput for what a database raises."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        kind, message = _meaning(error)
        raise kind(message) from error
    except UnicodeDecodeError as error:  # sqlite3's, about bytes that are no text any more
        raise StorageFailed(_DAMAGED) from error
    except UnicodeEncodeError as error:
        raise InvalidInput(_NO_TEXT) from error


def _meaning(error: sa.exc.DBAPIError) -> tuple[type[DragomanError], str]:
    if isinstance(error.orig, sqlite3.Error):
        number = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # none: no text in a column
        return _SQLITE.get(number & 0xFF, (StorageFailed, _DISK))
    state = str(getattr(error.orig, "sqlstate", None) or "")
    for length in (5, 2):
        if state[:length] in _SQLSTATE:
            return _SQLSTATE[state[:length]]
    if isinstance(error, sa.exc.DataError):
        return InvalidInput, _NO_TEXT
    if isinstance(error, sa.exc.IntegrityError):
        return Conflict, _IN_BETWEEN
    return NotReady, _AWAY
