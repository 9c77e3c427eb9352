"""The durable desired state: models as plain values in and out, one transaction a change, every change in the history.

Knows SQL by SQLAlchemy, and nothing of what models do. Its calls block, and may be made from any thread.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from dragoman.errors import ConfigError, Conflict, NotFound, ReadOnly, StateUnreadable
from dragoman.store import rows, sqlite
from dragoman.store.failures import in_our_words
from dragoman.store.history import Change, earlier
from dragoman.store.migrations import MIGRATIONS, Migration, check_schema, migrate, schema_of
from dragoman.store.schema import changes
from dragoman.store.state import Model, Version, check

#: Characters of what was done, and of who did it.
LONGEST: Final = 200

#: What a change makes of a model, and the number of the change whose outcome that is, where it is an old one.
_Wanted = tuple[Model | None, int | None]


class Store:
    """The state in one database. ``read_only`` says that it can't be changed from here.

    A change names the revision it was made from, in the model it hands over: when somebody else was faster, it is
    refused with Conflict and nothing has changed. Calls raise StorageFailed where the disk or what lies on it fails,
    ReadOnly, and NotReady where the database is busy or away.
    """

    def __init__(
        self, engine: sa.Engine, *, read_only: bool, schema: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.read_only = read_only
        self._engine = engine
        self._writer = engine.execution_options(**{sqlite.WRITING: True})
        self._schema = schema
        self._clock = clock

    def models(self) -> tuple[Model, ...]:
        """Every model, by name: one moment's state."""
        with in_our_words(), self._engine.connect() as connection:
            return tuple(rows.read_models(connection))

    def model(self, name: str) -> Model | None:
        """The model of that name."""
        with in_our_words(), self._engine.connect() as connection:
            return next(iter(rows.read_models(connection, name)), None)

    def save(self, model: Model, *, who: str, what: str) -> Model:
        """Make the model what is handed over; answers it as it is kept. ``model.revision`` is the one it was made
        from, 0 for a new name. ``who`` and ``what`` go into the history."""
        check(model)
        after = self._change(model.name, model.revision, who, what, lambda _: (model, None))
        assert after is not None
        return after

    def remove(self, model: Model, *, who: str, what: str = "unregister") -> None:
        """Remove the model of that revision with all its versions. Its history stays."""
        self._change(model.name, model.revision, who, what, lambda _: (None, None))

    def rollback(self, name: str, *, revision: int, who: str, to: int | None = None) -> Model:
        """Restore what there was before the last change that no rollback has taken back yet, or the outcome of the
        change of number ``to``. ``revision`` is what the model is at now, 0 when it was removed.

        Raises Conflict when there is nothing to go back to, NotFound for a change that the model hasn't seen.
        """

        def find(connection: sa.Connection) -> _Wanted:
            target = _target(connection, name, to)
            return target.after, target.number if target.restored is None else target.restored

        after = self._change(name, revision, who, "rollback", find)
        assert after is not None
        return after

    def previous(self, name: str) -> Change | None:
        """The change whose outcome ``rollback`` would restore; its ``after`` is that model."""
        with in_our_words(), self._engine.connect() as connection:
            try:
                return _target(connection, name, None)
            except Conflict:
                return None

    def history(
        self, name: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> tuple[Change, ...]:
        """Changes of one model or of all, the latest first, those before the number ``before``."""
        query = sa.select(changes).order_by(changes.c.number.desc()).limit(limit)
        if name is not None:
            query = query.where(changes.c.model == name)
        if before is not None:
            query = query.where(changes.c.number < before)
        with in_our_words(), self._engine.connect() as connection:
            return tuple(rows.read_changes(connection, query))

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    def _change(
        self, name: str, revision: int, who: str, what: str, find: Callable[[sa.Connection], _Wanted]
    ) -> Model | None:
        if self.read_only:
            raise ReadOnly("the state can only be read here")
        at, who, what = datetime.fromtimestamp(self._clock(), UTC), _words(who), _words(what)
        with in_our_words(), self._writer.begin() as connection:
            if schema_of(connection) != self._schema:
                raise ReadOnly("a newer Dragoman has taken the state over: this one can only read it")
            # In this order: what comes in between makes one of the two checks fail, here or in write_model.
            seen = rows.read_revision(connection, name)
            before = next(iter(rows.read_models(connection, name)), None)
            if (before.revision if before else 0) != revision:
                raise Conflict(f"somebody else changed model {name!r} in between: look at it again")
            wanted, restored = find(connection)
            after = _stamped(wanted, before, seen + 1, who, at)
            rows.write_model(connection, name, seen, after)
            change = Change(
                number=0,
                model=name,
                revision=seen + 1,
                at=at,
                who=who,
                what=what,
                before=before,
                after=after,
                restored=restored,
            )
            rows.add_change(connection, change)
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                sqlite.settle(connection)
        return after


def open_database(where: str | Path, migrations: Sequence[Migration] = MIGRATIONS) -> Store:
    """The state in the SQLite file of that path, made where there is none, or behind SQLAlchemy's URL.

    An older schema is brought to today's; where nothing can be written, the state can be read. Raises StateUnreadable
    for what is damaged, newer, or something else; ConfigError for what can't be opened at all.
    """
    file = _file(where)
    if file is not None:
        engine, read_only = sqlite.open_engine(file, lambda connection: migrate(connection, migrations))
    else:
        engine, read_only = _connect(str(where)), False
    try:
        _prepare(engine, read_only, migrations)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, read_only=read_only, schema=migrations[-1].number)


def _prepare(engine: sa.Engine, read_only: bool, migrations: Sequence[Migration]) -> None:
    is_file = engine.dialect.name == "sqlite"
    try:
        with engine.connect() as connection:
            if is_file:
                sqlite.check_contents(connection)
            current = schema_of(connection)
        check_schema(current, migrations)
        if current < migrations[-1].number:
            if read_only:
                hint = "open it once where it can be written"
                raise StateUnreadable(f"the state is of an older Dragoman (schema {current})", hint=hint)
            with engine.execution_options(**{sqlite.WRITING: True}).begin() as connection:
                migrate(connection, migrations)
        steady = engine if is_file else engine.execution_options(isolation_level="REPEATABLE READ")
        with steady.connect() as connection:
            rows.check_all(connection)
    except rows.Damaged as error:
        raise sqlite.damaged(error.message) from error
    except UnicodeDecodeError as error:  # sqlite3 tells of damage in the damage's own bytes
        raise sqlite.damaged("it holds bytes that are no text") from error
    except sa.exc.DBAPIError as error:
        if is_file:
            raise sqlite.unusable(error) from error
        raise ConfigError(f"the database of the state can't be used: {error.orig}") from error


def _file(where: str | Path) -> Path | None:
    """The path of a SQLite file, which may be written as a URL; ``None`` for other databases."""
    if isinstance(where, Path) or "://" not in where:
        return Path(where)
    with suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url(where)
        if url.get_backend_name() == "sqlite":
            if not url.database or url.database == ":memory:" or url.query:
                raise ConfigError(f"the state needs a plain file, got {where!r}", hint="sqlite:///state.db")
            return Path(url.database)
    return None


def _connect(where: str) -> sa.Engine:
    try:
        return sa.create_engine(where, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ValueError, ModuleNotFoundError) as error:
        hint = "such as postgresql+psycopg://user@host/name, and install the driver it names"
        raise ConfigError(f"the state is at no place that is known: {error}", hint=hint) from error


def _words(text: str) -> str:
    """The text as every database can keep it."""
    return text[:LONGEST].encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _target(connection: sa.Connection, name: str, to: int | None) -> Change:
    number = earlier(rows.read_steps(connection, name)) if to is None else to
    if number is None:
        raise Conflict(f"model {name!r} has nothing to go back to")
    query = sa.select(changes).where((changes.c.model == name) & (changes.c.number == number))
    found = rows.read_changes(connection, query)
    if not found:
        raise NotFound(f"model {name!r} has no change {number}")
    if found[0].after is None:
        raise Conflict(f"after change {number} there was no model {name!r}")
    return found[0]


def _stamped(
    wanted: Model | None, before: Model | None, revision: int, who: str, at: datetime
) -> Model | None:
    """The model with its new revision, and with who and when at the versions that are not as they were."""
    if wanted is None:
        return None
    old = {version.version: version for version in before.versions} if before else {}

    def stamped(version: Version) -> Version:
        same = old.get(version.version)
        if (
            same is not None
            and replace(version, changed_by=same.changed_by, changed_at=same.changed_at) == same
        ):
            return same
        return replace(version, changed_by=who, changed_at=at)

    return replace(wanted, revision=revision, versions=tuple(map(stamped, wanted.versions)))
