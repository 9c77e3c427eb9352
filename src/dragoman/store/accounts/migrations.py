"""How the tables of users and keys came to be. A step is never changed once it was released."""

from typing import Any

import sqlalchemy as sa


def users_and_keys(connection: sa.Connection) -> None:
    """Users, keys, sessions, usage and the audit, and the row that counts their changes."""
    tables = sa.MetaData()
    short, text, id_, digest = sa.String(255), sa.Text, sa.String(16), sa.String(64)
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

    def columns(kind: Any, *names: str) -> list[sa.Column[Any]]:
        return [sa.Column(name, kind, nullable=False) for name in names]

    accounts = sa.Table(
        "dragoman_accounts",
        tables,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *columns(sa.BigInteger, "number"),
    )
    sa.Table(
        "dragoman_users",
        tables,
        sa.Column("name", short, primary_key=True),
        *columns(text, "password", "roles", "models"),
        *columns(sa.Boolean, "disabled"),
        *columns(sa.BigInteger, "created"),
    )
    sa.Table(
        "dragoman_keys",
        tables,
        sa.Column("id", id_, primary_key=True),
        sa.Column("digest", digest, nullable=False, unique=True),
        *columns(short, "name"),
        *columns(text, "roles", "models"),
        *columns(sa.Double, "rate"),
        *columns(sa.Integer, "burst", "daily", "monthly"),
        *columns(sa.BigInteger, "created", "expires", "used", "revoked"),
    )
    sa.Table(
        "dragoman_signing_keys",
        tables,
        sa.Column("id", id_, primary_key=True),
        *columns(sa.String(128), "secret"),
        *columns(sa.BigInteger, "created", "expires"),
    )
    sa.Table(
        "dragoman_sessions",
        tables,
        sa.Column("id", sa.String(32), primary_key=True),
        *columns(short, "user"),
        *columns(sa.BigInteger, "created", "ended"),
    )
    sa.Table(
        "dragoman_refresh_tokens",
        tables,
        sa.Column("digest", digest, primary_key=True),
        *columns(sa.String(32), "session"),
        *columns(sa.BigInteger, "expires", "used"),
    )
    sa.Table(
        "dragoman_usage",
        tables,
        sa.Column("key", id_, primary_key=True),
        sa.Column("period", id_, primary_key=True),
        *columns(sa.BigInteger, "count"),
    )
    sa.Table(
        "dragoman_audit",
        tables,
        sa.Column("number", number, primary_key=True, autoincrement=True),
        *columns(sa.BigInteger, "at"),
        *columns(text, "who", "what", "model", "origin", "outcome"),
        sa.Index("dragoman_audit_at", "at"),
        sqlite_autoincrement=True,
    )
    tables.create_all(connection)
    connection.execute(sa.insert(accounts).values(id=1, number=0))
