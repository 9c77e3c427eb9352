"""How the tables came to be, step by step, and how an older database gets to where this Dragoman is.

A table of numbers and a list of functions, instead of Alembic: there is one line of history, no branches, no
environment and no command of its own, and a server must be able to do it alone when it starts. All steps that are
missing run in one transaction, so that a database is of one schema or of another (SQLite and PostgreSQL do so for
tables, too). A step is never changed once it was released: it makes its tables from definitions of its own.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from dragoman.errors import StateUnreadable
from dragoman.store.schema import schema

log = logging.getLogger("dragoman.store")

#: A number of our own for PostgreSQL's advisory locks.
_LOCK: Final = 0x4452_4147


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; ``number`` is where it leads to."""

    number: int
    name: str
    apply: Callable[[sa.Connection], None]


def _models_and_changes(connection: sa.Connection) -> None:
    text, short = sa.Text, sa.String(255)
    tables = sa.MetaData()
    sa.Table(
        "dragoman_models",
        tables,
        sa.Column("name", short, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("default_version", short, nullable=False),
        sa.Column("shadow_version", short, nullable=False),
        sa.Column("seal", sa.String(64), nullable=False),
    )
    sa.Table(
        "dragoman_versions",
        tables,
        sa.Column("model", short, sa.ForeignKey("dragoman_models.name"), primary_key=True),
        sa.Column("version", short, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("source", "digest", "path", "runtime", "handler")
        ),
        *(sa.Column(name, text, nullable=False) for name in ("settings", "changed_by")),
        sa.Column("loaded", sa.Boolean, nullable=False),
        *(
            sa.Column(name, sa.Integer, nullable=False)
            for name in ("min_instances", "max_instances", "weight")
        ),
        sa.Column("changed_at", sa.BigInteger),
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    sa.Table(
        "dragoman_changes",
        tables,
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("model", short, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", text, nullable=False),
        sa.Column("what", text, nullable=False),
        sa.Column("before", text),
        sa.Column("after", text),
        sa.Column("restored", number),
        sa.Column("seal", sa.String(64), nullable=False),
        sa.UniqueConstraint("model", "revision", name="dragoman_changes_once"),
        sqlite_autoincrement=True,
    )
    tables.create_all(connection)


MIGRATIONS: Final = (Migration(1, "models, versions and changes", _models_and_changes),)


def migrate(
    connection: sa.Connection,
    migrations: Sequence[Migration] = MIGRATIONS,
    clock: Callable[[], float] = time.time,
) -> None:
    """Take the missing steps, within the connection's transaction. Raises StateUnreadable for a newer schema."""
    if connection.dialect.name == "postgresql":  # elsewhere the transaction is enough, or nothing is
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    schema.create(connection, checkfirst=True)
    current = schema_of(connection)
    check_schema(current, migrations)
    for migration in migrations:
        if migration.number > current:
            migration.apply(connection)
            row = {"number": migration.number, "name": migration.name, "applied_at": int(clock() * 1_000_000)}
            connection.execute(sa.insert(schema).values(row))
            log.info(
                "the state's tables are made", extra={"schema": migration.number, "step": migration.name}
            )


def schema_of(connection: sa.Connection) -> int:
    """The number of the last step that was taken; 0 for none."""
    if not sa.inspect(connection).has_table(schema.name):
        return 0
    return connection.scalar(sa.select(sa.func.max(schema.c.number))) or 0


def check_schema(current: int, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Raises StateUnreadable for a schema that this Dragoman doesn't know yet."""
    newest = migrations[-1].number
    if current > newest:
        raise StateUnreadable(
            f"the state was written by a newer Dragoman: its schema is {current}, this one knows {newest}",
            hint="start the newer one, or give this one another state",
        )
