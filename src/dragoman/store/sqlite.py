"""What a state in a SQLite file needs beyond SQL: made whole or not at all, checked when it is opened, every change on
the disk before it is reported.

WAL, so that readers don't wait; ``synchronous=FULL``, so that a change survives a power cut; a checkpoint after every
change, so that nothing that was reported depends on a log that may be damaged later unseen. WAL needs shared memory:
for servers on several machines there is PostgreSQL.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa

from dragoman.errors import ConfigError, StateUnreadable

#: ``PRAGMA application_id`` of our files.
APPLICATION: Final = 0x4452_4147  # "DRAG"
#: Seconds to wait for another process's change.
BUSY: Final = 10.0
#: Execution option of connections that are going to change something.
WRITING: Final = "dragoman_writing"

_LOGS: Final = ("-wal", "-journal")
#: Result codes that tell of the world around the file.
_PASSING: Final = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


def open_engine(path: Path, make: Callable[[sa.Connection], None]) -> tuple[sa.Engine, bool]:
    """An engine for the file, and whether it can only be read. ``make`` fills a new one.

    Raises StateUnreadable, and ConfigError for a place where there can be none.
    """
    if not path.exists():
        _create(path, make)
    _check_file(path)
    read_only = not (_writable(path) and _writable(path.parent))
    return _engine(path, "ro" if read_only else "rw"), read_only


def check_contents(connection: sa.Connection) -> None:
    """Raises StateUnreadable for a file that is damaged, or of another program."""
    application = connection.exec_driver_sql("PRAGMA application_id").scalar()
    if application != APPLICATION:
        raise StateUnreadable("the file is a database, but not one of Dragoman's", hint="name another file")
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise damaged("; ".join(found).replace("\n", " ")[:200])


def settle(connection: sa.Connection) -> None:
    """Bring what was committed from the log into the file. If that fails it stays in the log, which is as safe."""
    raw = _raw(connection)
    with contextlib.suppress(sqlite3.Error):
        raw.execute(
            "PRAGMA busy_timeout = 0"
        )  # a reader is not waited for: the next change settles this one, too
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    raw.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000)}")


def unusable(error: sa.exc.DBAPIError) -> ConfigError:
    """What keeps a file that exists from being opened: damage, or something that passes."""
    number = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if number not in _PASSING:  # damage has many numbers, or none
        return damaged(str(error.orig))
    hint = "open it once where its folder can be written" if number == sqlite3.SQLITE_CANTOPEN else ""
    return ConfigError(f"the state can't be opened: {error.orig}", hint=hint)


def damaged(why: str) -> StateUnreadable:
    """The file is there and can't be trusted."""
    hint = "restore it from a backup, or move it away to begin without any state"
    return StateUnreadable(f"the state is damaged: {why}", hint=hint)


def _create(path: Path, make: Callable[[sa.Connection], None]) -> None:
    """Under another name first: a file of that name is complete, whenever this process is killed."""
    new = path.with_name(f".{path.name}.new")
    try:
        with _locked(path.parent) as folder:
            if path.exists():
                return
            for suffix in _LOGS:
                if path.with_name(path.name + suffix).exists():
                    raise damaged(f"{path.name} is missing, but its {path.name}{suffix} is there")
            for suffix in ("", *_LOGS, "-shm"):  # of a process that was killed
                new.with_name(new.name + suffix).unlink(missing_ok=True)
            os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            engine = _engine(new, "rw")
            try:
                with engine.connect() as connection:
                    _raw(connection).execute("PRAGMA journal_mode = WAL")  # for good: it stands in the file
                with engine.execution_options(**{WRITING: True}).begin() as connection:
                    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
                    make(connection)
                with engine.connect() as connection:
                    settle(connection)
            finally:
                engine.dispose()
            new.rename(path)
            os.fsync(folder)
    except (OSError, sa.exc.DBAPIError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.orig
        raise ConfigError(
            f"the state can't be made: {reason}", hint="name a file in a writable folder"
        ) from error


def _check_file(path: Path) -> None:
    """What SQLite would not say so well: that it may not, and that it takes an empty file for a new database."""
    if not path.is_file():
        raise ConfigError("the state must be a file", hint="name another one")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ConfigError(f"the state can't be read: {error.strerror}") from error
    if empty:
        raise damaged("the file is empty")


def _engine(path: Path, mode: str) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        # "immutable": without a log nobody is writing, and in a folder where nothing can be made SQLite needs to know.
        still = mode == "ro" and not _has_log(path)
        uri = f"file:{quote(os.path.abspath(path))}?mode={mode}{'&immutable=1' if still else ''}"
        return sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)

    pool = sa.pool.NullPool if mode == "ro" else sa.pool.QueuePool
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool)
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _has_log(path: Path) -> bool:
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _prepare(raw: sqlite3.Connection, _: Any) -> None:
    # Only what is this connection's own: the file may be anybody's yet.
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF", "cell_size_check = ON"):
        raw.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    # sqlite3 itself would begin at the first INSERT: too late for a change that has read before.
    writing = connection.get_execution_options().get(WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """One process at a time, where the file system has locks for folders."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)
