"""Opens the databases whose tables have nothing to do with models: a file or a URL, and the steps to today's tables.

Each kind of content counts its steps in a table of its own, so that one database can hold several kinds.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from dragoman.errors import ConfigError, StateUnreadable
from dragoman.store import sqlite

#: Makes tables, or changes those of the step before.
Step = Callable[[sa.Connection], None]


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds: ``what`` for people, ``table`` where its steps are counted, and the steps."""

    what: str
    setting: str
    table: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Opened:
    """``writer`` begins its transactions so that what it reads can't change before it writes."""

    engine: sa.Engine
    writer: sa.Engine
    is_file: bool

    def settle(self) -> None:
        """Bring what a file's log has into the file."""
        if self.is_file:
            with self.engine.connect() as connection:
                sqlite.settle(connection)


def open_content(where: str | Path, content: Content) -> Opened:
    """The database in that file, made where there is none, or behind SQLAlchemy's URL. Blocks. Raises ConfigError."""
    file = _file(where, content)
    if file is not None:
        engine, read_only = sqlite.open_engine(file, lambda connection: None)
        if read_only:
            engine.dispose()
            raise ConfigError(f"{content.setting} can't be written", hint="name a file in a writable folder")
    else:
        try:
            engine = sa.create_engine(str(where), pool_pre_ping=True)
        except (sa.exc.ArgumentError, ValueError, ModuleNotFoundError) as error:
            hint = "such as postgresql+psycopg://user@host/name, and install the driver it names"
            raise ConfigError(f"{content.setting} is no place that is known: {error}", hint=hint) from error
    writer = engine.execution_options(**{sqlite.WRITING: True})
    try:
        with writer.begin() as connection:
            _take_steps(connection, content)
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise ConfigError(f"{content.setting} can't be used: {error.orig}") from error
    except BaseException:
        engine.dispose()
        raise
    return Opened(engine, writer, file is not None)


def _take_steps(connection: sa.Connection, content: Content) -> None:
    if connection.dialect.name == "sqlite":
        application = connection.exec_driver_sql("PRAGMA application_id").scalar()
        if application != sqlite.APPLICATION:
            raise StateUnreadable(
                f"{content.setting} is a database, but not one of Dragoman's", hint="name another file"
            )
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sqlite.APPLICATION)))
    counted = sa.Table(content.table, sa.MetaData(), sa.Column("step", sa.Integer, primary_key=True))
    counted.create(connection, checkfirst=True)
    current = connection.scalar(sa.select(sa.func.max(counted.c.step))) or 0
    if current > len(content.steps):
        raise StateUnreadable(
            f"{content.what} were written by a newer Dragoman",
            hint="start the newer one, or name another place",
        )
    for number, step in enumerate(content.steps[current:], current + 1):
        step(connection)
        connection.execute(sa.insert(counted).values(step=number))


def _file(where: str | Path, content: Content) -> Path | None:
    """The path of a SQLite file, which may be written as a URL; ``None`` for other databases."""
    if isinstance(where, Path) or "://" not in where:
        return Path(where)
    with suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url(where)
        if url.get_backend_name() == "sqlite":
            if not url.database or url.database == ":memory:" or url.query:
                raise ConfigError(
                    f"{content.setting} needs a plain file, got {where!r}", hint="sqlite:///file.db"
                )
            return Path(url.database)
    return None
