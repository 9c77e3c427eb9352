"""Users and keys in a database: plain values in and out, one transaction a change, and with it its line in the audit.

Knows SQL by SQLAlchemy, nothing of passwords or roles. Its calls block, and may be made from any thread.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from dragoman.errors import Conflict, NotFound
from dragoman.store.accounts import rows
from dragoman.store.accounts.migrations import users_and_keys
from dragoman.store.accounts.tables import (
    accounts,
    audit,
    keys,
    refresh_tokens,
    sessions,
    signing_keys,
    usage,
    users,
)
from dragoman.store.accounts.values import (
    Entry,
    Key,
    Session,
    SigningKey,
    Snapshot,
    User,
    check_key,
    check_user,
)
from dragoman.store.failures import in_our_words
from dragoman.store.opening import Content, Opened, open_content

#: What was used of a key's quota, by the key's id and the period.
Usage = Mapping[tuple[str, str], int]
_SLOT: Final = 1  # the one row of ``accounts``
_CONTENT: Final = Content("users and keys", "auth.store", "dragoman_accounts_steps", (users_and_keys,))


class AccountStore:
    """The accounts in one database. Calls raise StorageFailed where the disk fails, ReadOnly, and NotReady where the
    database is busy or away."""

    def __init__(self, opened: Opened) -> None:
        self._engine = opened.engine
        self._writer = opened.writer

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    # Look.

    def number(self) -> int:
        """Grows with every change of users, keys and sessions."""
        with in_our_words(), self._engine.connect() as connection:
            return int(connection.scalar(sa.select(accounts.c.number)) or 0)

    def snapshot(self, ended_since: float) -> Snapshot:
        """Everything that decides who may. Sessions that ended before ``ended_since`` are left out."""
        with in_our_words(), self._engine.connect() as connection:
            # First: what changes meanwhile makes the next number another one.
            number = int(connection.scalar(sa.select(accounts.c.number)) or 0)
            ended = sessions.c.ended >= max(1, rows.micros(ended_since))
            return Snapshot(
                number=number,
                users={row["name"]: rows.read_user(row) for row in _all(connection, sa.select(users))},
                keys=tuple(map(rows.read_key, _all(connection, sa.select(keys).order_by(keys.c.created)))),
                signing=tuple(
                    map(
                        rows.read_signing,
                        _all(connection, sa.select(signing_keys).order_by(signing_keys.c.created)),
                    )
                ),
                ended=frozenset(connection.scalars(sa.select(sessions.c.id).where(ended))),
                usage={
                    (row["key"], row["period"]): row["count"] for row in _all(connection, sa.select(usage))
                },
            )

    def audit(self, *, limit: int = 100, before: int | None = None) -> tuple[Entry, ...]:
        """Lines of the audit, the latest first, those before the number ``before``."""
        query = sa.select(audit).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.number < before)
        with in_our_words(), self._engine.connect() as connection:
            return tuple(map(rows.read_entry, _all(connection, query)))

    # Users and keys.

    def add_user(self, user: User, entry: Entry) -> None:
        """Raises Conflict where there is one of that name, InvalidInput for one that can't be."""
        check_user(user)
        with self._change(entry) as connection:
            if connection.scalar(sa.select(users.c.name).where(users.c.name == user.name)) is not None:
                raise Conflict(f"there is a user {user.name!r} already")
            connection.execute(sa.insert(users).values(rows.user_row(user)))

    def change_user(
        self, name: str, change: Callable[[User], User], entry: Entry, *, ends: float = 0.0
    ) -> User:
        """Make of the user what ``change`` makes of it. With ``ends``, a time, its sessions end. Raises NotFound."""
        with self._change(entry) as connection:
            found = _all(connection, sa.select(users).where(users.c.name == name))
            if not found:
                raise NotFound(f"there is no user {name!r}")
            user = change(rows.read_user(found[0]))
            check_user(user)
            connection.execute(sa.update(users).where(users.c.name == name).values(rows.user_row(user)))
            if ends:
                _end(connection, sessions.c.user == name, ends)
        return user

    def remove_user(self, name: str, entry: Entry, *, now: float) -> None:
        """The user is gone, and all its sessions end. Raises NotFound."""
        with self._change(entry) as connection:
            if connection.execute(sa.delete(users).where(users.c.name == name)).rowcount != 1:
                raise NotFound(f"there is no user {name!r}")
            _end(connection, sessions.c.user == name, now)

    def add_key(self, key: Key, entry: Entry) -> None:
        """Raises InvalidInput for one that can't be."""
        check_key(key)
        with self._change(entry) as connection:
            connection.execute(sa.insert(keys).values(rows.key_row(key)))

    def revoke_key(self, id_: str, entry: Entry) -> None:
        """From ``entry.at`` on the key is worth nothing. Raises NotFound, and Conflict for one that is already."""
        with self._change(entry) as connection:
            revoked = connection.scalar(sa.select(keys.c.revoked).where(keys.c.id == id_))
            if revoked is None:
                raise NotFound(f"there is no key {id_!r}")
            if revoked:
                raise Conflict(f"key {id_!r} is revoked already")
            now = rows.micros(entry.at)
            connection.execute(sa.update(keys).where(keys.c.id == id_).values(revoked=now))

    # Sessions.

    def add_signing_key(self, key: SigningKey, expires: float, entry: Entry, *, newest: str = "") -> bool:
        """From now on it signs; the others are good until ``expires`` at most. Nothing happens, and the answer is no,
        where the newest isn't the one with the id ``newest`` any more: somebody else was faster."""
        with self._transaction() as connection:
            last = sa.select(signing_keys.c.id).order_by(signing_keys.c.created.desc()).limit(1)
            if (connection.scalar(last) or "") != newest:
                return False
            until = rows.micros(expires)
            longer = (signing_keys.c.expires == 0) | (signing_keys.c.expires > until)
            connection.execute(sa.update(signing_keys).where(longer).values(expires=until))
            connection.execute(sa.insert(signing_keys).values(rows.signing_row(key)))
            _write(connection, [entry])
            _bump(connection)
        return True

    def begin(self, session: Session, refresh: bytes, expires: float, entry: Entry) -> None:
        """A session, with the digest of its first refresh token."""
        with self._change(entry, news=False) as connection:
            row = {
                "id": session.id,
                "user": session.user,
                "created": rows.micros(session.created),
                "ended": 0,
            }
            connection.execute(sa.insert(sessions).values(row))
            connection.execute(sa.insert(refresh_tokens).values(_refresh(session.id, refresh, expires)))

    def proceed(self, old: bytes, new: bytes, expires: float, now: float) -> Session | None:
        """Use a refresh token, once: another takes its place. ``None`` for one that is unknown, has expired, or was
        used before, which ends its session: somebody has it who shouldn't."""
        digest = refresh_tokens.c.digest == old.hex()
        at = rows.micros(now)
        with self._transaction() as connection:
            joined = sa.select(refresh_tokens, sessions.c.user, sessions.c.created, sessions.c.ended).where(
                digest
            )
            joined = joined.join_from(refresh_tokens, sessions, refresh_tokens.c.session == sessions.c.id)
            found = _all(connection, joined)
            if not found or found[0]["ended"] or found[0]["expires"] <= at:
                return None
            row = found[0]
            session = Session(id=row["session"], user=row["user"], created=row["created"] / 1e6)
            unused = sa.update(refresh_tokens).where(digest & (refresh_tokens.c.used == 0)).values(used=at)
            if connection.execute(unused).rowcount == 1:
                connection.execute(sa.insert(refresh_tokens).values(_refresh(session.id, new, expires)))
                return session
            _end(connection, sessions.c.id == session.id, now)
            who = f"user {session.user}"
            _write(
                connection,
                [Entry(at=now, who=who, what="refresh", outcome="a token came twice: session ended")],
            )
            _bump(connection)
        return None

    def end(self, refresh: bytes, now: float) -> str | None:
        """End the session of a refresh token; answers whose it was, ``None`` where there is none."""
        with self._transaction() as connection:
            query = sa.select(sessions.c.id, sessions.c.user).where(refresh_tokens.c.digest == refresh.hex())
            query = query.join_from(refresh_tokens, sessions, refresh_tokens.c.session == sessions.c.id)
            found = connection.execute(query.where(sessions.c.ended == 0)).first()
            if found is None:
                return None
            _end(connection, sessions.c.id == found.id, now)
            _write(connection, [Entry(at=now, who=f"user {found.user}", what="logout")])
            _bump(connection)
            return str(found.user)

    # What is counted and told.

    def spend(self, used: Usage, last: Mapping[str, float]) -> Usage:
        """Add to what was used, and note when each key was used last. Answers the sums of all processes."""
        for _ in used:  # the first use in a period may be another process's, too: then its line is there
            try:
                return self._spend(used, last)
            except Conflict:
                continue
        return self._spend(used, last)

    def _spend(self, used: Usage, last: Mapping[str, float]) -> Usage:
        sums: dict[tuple[str, str], int] = {}
        with self._transaction() as connection:
            for (key, period), count in sorted(used.items()):
                same = (usage.c.key == key) & (usage.c.period == period)
                added = sa.update(usage).where(same).values(count=usage.c.count + count)
                if not connection.execute(added).rowcount:
                    connection.execute(sa.insert(usage).values(key=key, period=period, count=count))
                sums[key, period] = int(connection.scalar(sa.select(usage.c.count).where(same)) or 0)
            for key, at in sorted(last.items()):
                earlier = (keys.c.id == key) & (keys.c.used < rows.micros(at))
                connection.execute(sa.update(keys).where(earlier).values(used=rows.micros(at)))
        return sums

    def write(self, entries: Iterable[Entry]) -> None:
        """Lines of the audit for what is no change of users and keys."""
        with self._transaction() as connection:
            _write(connection, entries)

    def forget(self, *, audit_before: float, periods: frozenset[str], now: float) -> None:
        """Take away what is old: lines of the audit, tokens and sessions that have expired, usage of other periods."""
        at = rows.micros(now)
        with self._transaction() as connection:
            connection.execute(sa.delete(audit).where(audit.c.at < rows.micros(audit_before)))
            connection.execute(sa.delete(usage).where(usage.c.period.not_in(periods)))
            connection.execute(sa.delete(refresh_tokens).where(refresh_tokens.c.expires <= at))
            gone = sa.select(refresh_tokens.c.session)
            connection.execute(sa.delete(sessions).where(sessions.c.id.not_in(gone)))
            spent = (signing_keys.c.expires != 0) & (signing_keys.c.expires <= at)
            connection.execute(sa.delete(signing_keys).where(spent))

    # Inside.

    @contextmanager
    def _change(self, entry: Entry, *, news: bool = True) -> Iterator[sa.Connection]:
        """A transaction with its line in the audit; with ``news`` everybody who looks will see that there are some."""
        with self._transaction() as connection:
            yield connection
            _write(connection, [entry])
            if news:
                _bump(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with in_our_words(), self._writer.begin() as connection:
            yield connection


def open_database(where: str | Path) -> AccountStore:
    """The accounts in a file or behind a URL. Raises ConfigError."""
    return AccountStore(open_content(where, _CONTENT))


def _all(connection: sa.Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in connection.execute(query).mappings()]


def _bump(connection: sa.Connection) -> None:
    connection.execute(sa.update(accounts).where(accounts.c.id == _SLOT).values(number=accounts.c.number + 1))


def _write(connection: sa.Connection, entries: Iterable[Entry]) -> None:
    if lines := list(map(rows.entry_row, entries)):
        connection.execute(sa.insert(audit), lines)


def _end(connection: sa.Connection, which: sa.ColumnElement[bool], now: float) -> None:
    connection.execute(
        sa.update(sessions).where(which & (sessions.c.ended == 0)).values(ended=rows.micros(now))
    )


def _refresh(session: str, digest: bytes, expires: float) -> dict[str, Any]:
    return {"digest": digest.hex(), "session": session, "expires": rows.micros(expires), "used": 0}
