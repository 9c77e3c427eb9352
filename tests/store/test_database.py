"""The state in a database: what is kept, who changed it, how to go back, and who was faster."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dragoman.errors import (
    Code,
    ConfigError,
    Conflict,
    DragomanError,
    InvalidInput,
    NotFound,
    ReadOnly,
    StateUnreadable,
    StorageFailed,
)
from dragoman.store import Model, Version
from dragoman.store.database import Store, open_database
from dragoman.store.migrations import MIGRATIONS, Migration
from dragoman.store.schema import metadata
from tests.store.writer import add

PATIENCE = 60.0

ONE = Version(version="1", source="iris.mar", digest="0" * 64, path="/store/iris.mar", runtime="torchserve")
TWO = Version(
    version="2", source="https://a.example/iris2.mar", settings={"max_batch": 8, "options": {"a": [1, None]}}
)
IRIS = Model(name="iris", versions=(ONE,), default="1")

Open = Callable[[str | Path], Store]


def plain(model: Model) -> Model:
    """Without what the store itself has written in it."""
    versions = (replace(version, changed_by="", changed_at=None) for version in model.versions)
    return replace(model, versions=tuple(versions), revision=0)


def test_what_was_saved_is_there_after_a_restart(place: str | Path, store: Store, open_: Open) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    other = store.save(replace(IRIS, name="Ünicode 💐", shadow="1"), who="bob", what="register")
    assert plain(saved) == IRIS
    assert saved.revision == 1
    store.close()
    again = open_(place)
    assert again.models() == (other, saved) if other.name < saved.name else (saved, other)
    assert again.model("iris") == saved
    assert again.model("nobody") is None
    assert not again.read_only


def test_everything_of_a_version_is_kept(store: Store) -> None:
    full = replace(TWO, handler="h.py:f", loaded=False, min_instances=0, max_instances=9, weight=5, path="/ä")
    model = Model(name="m", versions=(full, ONE), default="1", shadow="2")
    store.save(model, who="ann", what="register")
    kept = store.model("m")
    assert kept is not None
    assert plain(kept) == model


def test_a_change_says_who_and_when_where_something_changed(store: Store) -> None:
    before = datetime.now(UTC)
    first = store.save(IRIS, who="ann", what="register")
    second = store.save(replace(first, versions=(*first.versions, TWO)), who="bob", what="register")
    third = store.save(
        replace(second, versions=(second.versions[0], replace(second.versions[1], weight=10))),
        who="cat",
        what="split",
    )
    assert [version.changed_by for version in third.versions] == ["ann", "cat"]
    assert first.versions[0] == third.versions[0]
    times = [version.changed_at for version in third.versions]
    assert times[0] is not None
    assert times[1] is not None
    assert before <= times[0] <= times[1] <= datetime.now(UTC)


def test_the_history_has_every_change_with_before_and_after(store: Store) -> None:
    first = store.save(IRIS, who="ann", what="register")
    other = store.save(replace(IRIS, name="other"), who="ann", what="register")
    second = store.save(
        replace(first, versions=(*first.versions, TWO), default="2"), who="bob", what="upgrade"
    )
    store.remove(second, who="cat")
    assert store.models() == (other,)
    told = [(change.what, change.who, change.before, change.after) for change in store.history("iris")]
    assert told == [
        ("unregister", "cat", second, None),
        ("upgrade", "bob", first, second),
        ("register", "ann", None, first),
    ]
    everything = store.history()
    assert [change.model for change in everything] == ["iris", "iris", "other", "iris"]
    assert [change.revision for change in store.history("iris")] == [3, 2, 1]
    assert store.history(limit=2) == everything[:2]
    assert store.history(before=everything[1].number) == everything[2:]
    assert store.history("nobody") == ()


def test_who_was_slower_is_refused_and_changes_nothing(place: str | Path, store: Store, open_: Open) -> None:
    other = open_(place)
    saved = store.save(IRIS, who="ann", what="register")
    with pytest.raises(Conflict):
        other.save(IRIS, who="bob", what="register")
    faster = other.save(replace(saved, shadow="1"), who="bob", what="shadow")
    for change in (
        lambda: store.save(replace(saved, versions=(ONE, TWO)), who="ann", what="add"),
        lambda: store.remove(saved, who="ann"),
        lambda: store.rollback("iris", revision=saved.revision, who="ann"),
        lambda: store.save(replace(saved, revision=7), who="ann", what="add"),
    ):
        with pytest.raises(Conflict) as refused:
            change()
        assert refused.value.code is Code.CONFLICT
    assert store.models() == (faster,)
    assert len(store.history()) == 2


def test_of_many_processes_that_change_one_model_no_change_is_lost(place: str | Path, store: Store) -> None:
    store.save(replace(IRIS, versions=(Version(version="0"),), default="0"), who="ann", what="register")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dragoman.store.database", "tests.store.writer"])
    processes = [context.Process(target=add, args=(str(place), number, 8)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    model = store.model("iris")
    assert model is not None
    assert model.revision == 25
    added = {f"{number}.{turn}" for number in range(3) for turn in range(8)}
    assert {version.version for version in model.versions} == {"0"} | added
    assert [change.revision for change in store.history("iris")] == list(range(25, 0, -1))


def test_of_many_who_register_one_name_one_does(place: str | Path, store: Store, open_: Open) -> None:
    stores = [open_(place) for _ in range(4)]
    start = threading.Barrier(len(stores))

    def register(number: int) -> bool:
        start.wait()
        try:
            stores[number].save(IRIS, who=str(number), what="register")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as pool:
        assert sum(pool.map(register, range(len(stores)))) == 1


def test_of_many_who_open_a_new_state_all_get_the_same(place: str | Path, open_: Open) -> None:
    start = threading.Barrier(4)

    def open_it(_: int) -> Store:
        start.wait()
        return open_(place)

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(open_it, range(4)))
    saved = stores[0].save(IRIS, who="ann", what="register")
    assert [store.models() for store in stores] == [(saved,)] * 4


def test_rolling_back_restores_what_was_before_and_goes_on_backwards(store: Store) -> None:
    first = store.save(IRIS, who="ann", what="register")
    second = store.save(replace(first, versions=(*first.versions, TWO)), who="ann", what="add")
    third = store.save(replace(second, default="2"), who="ann", what="set-default")
    previous = store.previous("iris")
    assert previous is not None
    assert previous.after == second
    back = store.rollback("iris", revision=third.revision, who="bob")
    assert plain(back) == plain(second)
    assert back.revision == 4
    back = store.rollback("iris", revision=back.revision, who="bob")
    assert plain(back) == plain(first)
    assert store.previous("iris") is None
    with pytest.raises(Conflict, match="nothing to go back to"):
        store.rollback("iris", revision=back.revision, who="bob")
    assert store.model("iris") == back
    history = store.history("iris")
    assert [(change.what, change.restored) for change in history[:2]] == [
        ("rollback", history[4].number),
        ("rollback", history[3].number),
    ]


def test_rolling_back_finds_what_was_removed(store: Store) -> None:
    first = store.save(IRIS, who="ann", what="register")
    store.remove(first, who="bob")
    back = store.rollback("iris", revision=0, who="ann")
    assert (plain(back), back.revision) == (IRIS, 3)
    store.remove(back, who="bob")
    anew = store.save(replace(IRIS, versions=(TWO,), default="2"), who="ann", what="register")
    assert anew.revision == 5
    assert plain(store.rollback("iris", revision=5, who="ann")) == IRIS


def test_rolling_back_can_name_the_change_whose_outcome_is_wanted(store: Store) -> None:
    first = store.save(IRIS, who="ann", what="register")
    other = store.save(replace(IRIS, name="other"), who="ann", what="register")
    second = store.save(replace(first, versions=(*first.versions, TWO)), who="ann", what="add")
    store.remove(second, who="ann")
    removed, added, _, registered = (change.number for change in store.history())
    back = store.rollback("iris", revision=0, who="bob", to=added)
    assert plain(back) == plain(second)
    back = store.rollback("iris", revision=back.revision, who="bob", to=registered)
    assert plain(back) == IRIS
    with pytest.raises(Conflict, match="there was no model"):
        store.rollback("iris", revision=back.revision, who="bob", to=removed)
    for number in (registered, 10_000):
        with pytest.raises(NotFound):
            store.rollback("other", revision=other.revision, who="bob", to=number)
    with pytest.raises(Conflict):
        store.rollback("nobody", revision=0, who="bob")


def test_naming_a_rollback_means_what_it_has_restored(store: Store) -> None:
    first = store.save(IRIS, who="ann", what="register")
    second = store.save(replace(first, versions=(*first.versions, TWO)), who="ann", what="add")
    third = store.save(replace(second, default="2"), who="ann", what="set-default")
    store.rollback("iris", revision=third.revision, who="bob")
    rolled = store.history()[0].number
    fifth = store.save(replace(third, shadow="1", revision=4), who="ann", what="shadow")
    assert plain(store.rollback("iris", revision=fifth.revision, who="bob", to=rolled)) == plain(second)
    assert plain(store.rollback("iris", revision=6, who="bob")) == plain(first)


def test_a_model_that_contradicts_itself_is_not_kept(store: Store) -> None:
    with pytest.raises(InvalidInput):
        store.save(replace(IRIS, default="9"), who="ann", what="register")
    assert store.models() == store.history() == ()


def test_words_of_any_length_and_kind_go_into_the_history(store: Store) -> None:
    saved = store.save(IRIS, who="x" * 10_000, what="y" * 10_000)
    store.save(replace(saved, shadow="1"), who="a\0b\ud800", what="💐")
    assert [(change.who, change.what) for change in store.history()] == [
        ("a?b?", "💐"),
        ("x" * 200, "y" * 200),
    ]


@pytest.mark.parametrize(
    "name", ["a\0b", "\ud800", "", "x" * 10_000, "'; DROP TABLE dragoman_models; --", "%", "ä"]
)
def test_a_name_that_no_model_can_have_is_no_model(store: Store, name: str) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    for look in (store.model, store.previous, store.history):
        with suppress(InvalidInput):
            assert not look(name)
    assert store.models() == (saved,)


def test_a_state_that_fails_in_the_middle_stays_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    with monkeypatch.context() as broken:
        broken.setattr("dragoman.store.rows.add_change", fail)
        with pytest.raises(ZeroDivisionError):
            store.save(replace(saved, versions=(*saved.versions, TWO)), who="ann", what="add")
    assert store.models() == (saved,)
    assert len(store.history()) == 1


def fail(*_: object) -> None:
    raise ZeroDivisionError


# Schemas


def more(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE dragoman_models ADD COLUMN note TEXT")
    connection.exec_driver_sql("UPDATE dragoman_models SET note = 'old'")


NEXT = (*MIGRATIONS, Migration(2, "notes", more))


def test_an_older_state_is_brought_to_todays_schema(place: str | Path, store: Store) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    store.close()
    for _ in range(2):
        newer = open_database(place, NEXT)
        assert newer.models() == (saved,)
        with newer._engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT note FROM dragoman_models")) == "old"
            steps = connection.execute(
                sa.text("SELECT number, name FROM dragoman_schema ORDER BY number")
            ).all()
        assert [tuple(step) for step in steps] == [(1, "models, versions and changes"), (2, "notes")]
        newer.close()


def test_a_newer_state_is_not_touched(place: str | Path, store: Store, open_: Open) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    newer = open_database(place, NEXT)
    with pytest.raises(StateUnreadable, match="newer Dragoman: its schema is 2, this one knows 1") as refused:
        open_(place)
    assert refused.value.hint
    with pytest.raises(ReadOnly, match="newer"):  # who had it open before
        store.save(replace(saved, shadow="1"), who="ann", what="shadow")
    assert newer.models() == (saved,)
    newer.close()


def test_a_step_that_fails_leaves_the_older_state(place: str | Path, store: Store, open_: Open) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    store.close()

    def break_(connection: sa.Connection) -> None:
        more(connection)
        fail()

    with pytest.raises(ZeroDivisionError):
        open_database(place, (*MIGRATIONS, Migration(2, "broken", break_)))
    assert open_(place).models() == (saved,)


def test_the_steps_lead_to_the_tables_that_the_queries_know(place: str | Path, store: Store) -> None:
    with store._engine.connect() as connection:
        made = sa.MetaData()
        made.reflect(connection)
    assert set(made.tables) == set(metadata.tables)
    for name, table in metadata.tables.items():
        for column in table.c:
            other = made.tables[name].c[column.name]
            assert (other.nullable, other.primary_key) == (column.nullable, column.primary_key), column
            dialect = store._engine.dialect
            assert other.type.compile(dialect) == column.type.compile(dialect)
        assert set(table.c.keys()) == set(made.tables[name].c.keys())


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM dragoman_versions",
        "DELETE FROM dragoman_versions WHERE version = '2'",
        "DELETE FROM dragoman_versions; DELETE FROM dragoman_models",
        "DELETE FROM dragoman_versions; UPDATE dragoman_models SET seal = ''",
        "DELETE FROM dragoman_changes",
        "DELETE FROM dragoman_changes WHERE revision = 2",
        "UPDATE dragoman_models SET default_version = '2'",
        "UPDATE dragoman_models SET shadow_version = '2'",
        "UPDATE dragoman_models SET revision = 1",
        "UPDATE dragoman_models SET seal = ''",
        "UPDATE dragoman_versions SET path = '/evil'",
        "UPDATE dragoman_versions SET settings = '{'",
        "UPDATE dragoman_versions SET settings = 'null'",
        "UPDATE dragoman_versions SET weight = 3",
        "UPDATE dragoman_versions SET place = 1 - place",
        "UPDATE dragoman_changes SET after = before WHERE revision = 2",
        "UPDATE dragoman_changes SET after = '{}' WHERE revision = 2",
        "UPDATE dragoman_changes SET who = 'mallory' WHERE revision = 2",
    ],
)
def test_rows_that_are_not_what_was_written_are_never_served(
    place: str | Path, store: Store, open_: Open, damage: str
) -> None:
    first = store.save(IRIS, who="ann", what="register")
    store.save(replace(first, versions=(*first.versions, TWO)), who="ann", what="add")
    with store._engine.connect() as connection:
        for statement in damage.split("; "):
            connection.exec_driver_sql(statement)
        connection.commit()
    store.close()
    with pytest.raises(StateUnreadable, match="damaged") as refused:
        open_(place)
    assert refused.value.hint


def test_damage_that_comes_later_is_told_when_it_is_read(store: Store) -> None:
    saved = store.save(IRIS, who="ann", what="register")
    with store._engine.connect() as connection:
        connection.exec_driver_sql("UPDATE dragoman_versions SET path = '/evil'")
        connection.exec_driver_sql("UPDATE dragoman_changes SET who = 'mallory'")
        connection.commit()
    for read in (
        store.models,
        lambda: store.model("iris"),
        store.history,
        lambda: store.save(replace(saved, shadow="1"), who="ann", what="shadow"),
    ):
        with pytest.raises(StorageFailed, match="damaged"):
            read()


@pytest.mark.parametrize(
    "where",
    ["nosuchdb://x/y", "postgresql+nosuchdriver://x/y", "postgresql+psycopg://x@127.0.0.1:1/y?connect_timeout=2",
     "sqlite://", "sqlite:///:memory:", "sqlite:///x.db?mode=ro", "://", "postgresql+psycopg://a:b:c@:x/"],
)  # fmt: skip
def test_a_place_that_is_none_is_told_to_the_operator(where: str, open_: Open) -> None:
    with pytest.raises(ConfigError) as refused:
        open_(where)
    assert not isinstance(refused.value, StateUnreadable)


def test_a_database_that_goes_away_is_told_and_comes_back(postgres: str, open_: Open) -> None:
    server = sa.make_url(postgres)
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE away")
    store = open_(server.set(database="away").render_as_string())
    saved = store.save(IRIS, who="ann", what="register")
    store.close()
    with admin.connect() as connection:
        connection.exec_driver_sql("ALTER DATABASE away ALLOW_CONNECTIONS false")
        with pytest.raises(DragomanError) as failed:
            store.models()
        assert failed.value.code is Code.NOT_READY
        connection.exec_driver_sql("ALTER DATABASE away ALLOW_CONNECTIONS true")
    assert store.models() == (saved,)


def test_a_user_who_may_only_read_can_only_read(postgres: str, open_: Open) -> None:
    server = sa.make_url(postgres)
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE shared")
        connection.exec_driver_sql("CREATE USER reader")
    shared = server.set(database="shared")
    saved = open_(shared.render_as_string()).save(IRIS, who="ann", what="register")
    with sa.create_engine(
        shared, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    ).connect() as connection:
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    reader = open_(shared.set(username="reader").render_as_string())
    assert reader.models() == (saved,)
    with pytest.raises(ReadOnly):
        reader.save(replace(saved, shadow="1"), who="eve", what="shadow")
