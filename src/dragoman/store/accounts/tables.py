"""The tables of users and keys, as the queries know them. How they came to be is told by ``accounts/migrations``.

::

    dragoman_accounts        one row, whose number grows with every change: who sees it knows that there is news
    dragoman_users           names, hashes of passwords, roles
    dragoman_keys            digests of keys, roles, limits; revoked ones stay
    dragoman_signing_keys    what signs access tokens: the only secrets here
    dragoman_sessions        a login and what came of it
    dragoman_refresh_tokens  digests; each is used once
    dragoman_usage           requests of each key in each period
    dragoman_audit           who did what: rows are added, never changed, and go when they are old

Times are microseconds since 1970; roles and patterns are JSON.
"""

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData()
_SHORT: Final = sa.String(255)
_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _time(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


accounts: Final = sa.Table(
    "dragoman_accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)
users: Final = sa.Table(
    "dragoman_users",
    metadata,
    sa.Column("name", _SHORT, primary_key=True),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    _time("created"),
)
keys: Final = sa.Table(
    "dragoman_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("name", _SHORT, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("rate", sa.Double, nullable=False),
    sa.Column("burst", sa.Integer, nullable=False),
    sa.Column("daily", sa.Integer, nullable=False),
    sa.Column("monthly", sa.Integer, nullable=False),
    *map(_time, ("created", "expires", "used", "revoked")),
)
signing_keys: Final = sa.Table(
    "dragoman_signing_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("secret", sa.String(128), nullable=False),
    *map(_time, ("created", "expires")),
)
sessions: Final = sa.Table(
    "dragoman_sessions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", _SHORT, nullable=False),
    *map(_time, ("created", "ended")),
)
refresh_tokens: Final = sa.Table(
    "dragoman_refresh_tokens",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("session", sa.String(32), nullable=False),
    *map(_time, ("expires", "used")),
)
usage: Final = sa.Table(
    "dragoman_usage",
    metadata,
    sa.Column("key", sa.String(16), primary_key=True),
    sa.Column("period", sa.String(16), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
audit: Final = sa.Table(
    "dragoman_audit",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _time("at"),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "what", "model", "origin", "outcome")),
    sa.Index("dragoman_audit_at", "at"),
    sqlite_autoincrement=True,
)
