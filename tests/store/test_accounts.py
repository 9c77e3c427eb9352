"""Users and keys in a database: what is kept, what happens once, and what every change leaves in the audit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dragoman.errors import Conflict, InvalidInput, NotFound
from dragoman.store import Model, Version, open_store
from dragoman.store.accounts import Entry, Key, Session, SigningKey, User, open_accounts
from dragoman.store.accounts.database import AccountStore
from dragoman.store.accounts.tables import metadata

NOW = 1_795_000_000.5
ANN = User(
    name="ann", password="$argon2id$...", roles=frozenset({"read", "infer"}), models=("a*", "b"), created=NOW
)
KEY = Key(
    id="0a1b2c3d",
    digest=bytes(range(32)),
    name="ci",
    roles=frozenset({"infer"}),
    models=("é*",),
    rate=2.5,
    burst=7,
    daily=100,
    monthly=1000,
    created=NOW,
    expires=NOW + 60,
)
SESSION = Session(id="s", user="ann", created=NOW)
FIRST, SECOND, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))


def entry(what: str = "change", at: float = NOW) -> Entry:
    return Entry(at=at, who="admin", what=what, origin="10.0.0.7", model="m", outcome="done")


@pytest.fixture
def accounts(place: str | Path) -> Iterator[AccountStore]:
    store = open_accounts(place)
    yield store
    store.close()


def test_what_is_kept_comes_back_as_it_was(accounts: AccountStore, place: str | Path) -> None:
    signing = SigningKey(id="k", secret=bytes(64), created=NOW)
    accounts.add_user(ANN, entry())
    accounts.add_key(KEY, entry())
    assert accounts.add_signing_key(signing, NOW, entry())
    again = open_accounts(place)
    found = again.snapshot(NOW)
    again.close()
    assert (found.users, found.keys, found.signing) == ({"ann": ANN}, (KEY,), (signing,))
    assert (found.ended, found.usage) == (frozenset(), {})


def test_every_change_makes_news_and_a_line_in_the_audit(accounts: AccountStore) -> None:
    numbers = [accounts.number()]
    for change in (
        lambda: accounts.add_user(ANN, entry("add")),
        lambda: accounts.change_user("ann", lambda user: replace(user, disabled=True), entry("disable")),
        lambda: accounts.add_key(KEY, entry("key")),
        lambda: accounts.revoke_key(KEY.id, entry("revoke")),
        lambda: accounts.remove_user("ann", entry("remove"), now=NOW),
    ):
        change()
        numbers.append(accounts.number())
    assert numbers == sorted(set(numbers))
    lines = accounts.audit()
    assert [line.what for line in lines] == ["remove", "revoke", "key", "disable", "add"]
    assert replace(lines[-1], number=0) == entry("add")
    assert accounts.audit(limit=1, before=lines[1].number) == lines[2:3]


def test_what_is_refused_changes_nothing_and_leaves_no_line(accounts: AccountStore) -> None:
    accounts.add_user(ANN, entry())
    accounts.add_key(KEY, entry())
    accounts.revoke_key(KEY.id, entry())
    before = accounts.snapshot(0), accounts.audit()
    for refused, change in (
        (Conflict, lambda: accounts.add_user(ANN, entry())),
        (InvalidInput, lambda: accounts.add_user(replace(ANN, name="a b"), entry())),
        (InvalidInput, lambda: accounts.add_user(replace(ANN, name="me"), entry())),
        (InvalidInput, lambda: accounts.change_user("ann", lambda user: replace(user, models=()), entry())),
        (NotFound, lambda: accounts.change_user("bob", lambda user: user, entry())),
        (NotFound, lambda: accounts.remove_user("bob", entry(), now=NOW)),
        (InvalidInput, lambda: accounts.add_key(replace(KEY, id="x", models=("a\nb",)), entry())),
        (InvalidInput, lambda: accounts.add_key(replace(KEY, id="x", rate=-1.0), entry())),
        (InvalidInput, lambda: accounts.add_key(replace(KEY, id="x", rate=0.0), entry())),
        (NotFound, lambda: accounts.revoke_key("x", entry())),
        (Conflict, lambda: accounts.revoke_key(KEY.id, entry())),
    ):
        with pytest.raises(refused):
            change()
    assert (accounts.snapshot(0), accounts.audit()) == before


def test_a_refresh_token_is_used_once_and_twice_ends_its_session(accounts: AccountStore) -> None:
    accounts.begin(SESSION, FIRST, NOW + 60, entry("login"))
    assert accounts.proceed(FIRST, SECOND, NOW + 60, NOW) == SESSION
    assert accounts.snapshot(0).ended == frozenset()
    before = accounts.number()
    assert accounts.proceed(FIRST, THIRD, NOW + 60, NOW) is None
    assert accounts.snapshot(NOW).ended == {"s"}
    assert accounts.number() > before
    assert accounts.proceed(SECOND, THIRD, NOW + 60, NOW) is None
    assert accounts.audit()[0].outcome == "a token came twice: session ended"


def test_of_many_who_use_one_refresh_token_at_once_one_succeeds(accounts: AccountStore) -> None:
    accounts.begin(SESSION, FIRST, NOW + 60, entry("login"))
    tokens = [bytes([10 + number]) * 32 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda token: accounts.proceed(FIRST, token, NOW + 60, NOW), tokens))
    assert sum(session is not None for session in got) == 1
    assert accounts.snapshot(0).ended == {"s"}


def test_a_refresh_token_that_is_late_or_unknown_is_worth_nothing_and_ends_nothing(
    accounts: AccountStore,
) -> None:
    accounts.begin(SESSION, FIRST, NOW + 60, entry("login"))
    assert accounts.proceed(SECOND, THIRD, NOW + 60, NOW) is None
    assert accounts.proceed(FIRST, SECOND, NOW + 120, NOW + 60) is None
    assert accounts.snapshot(0).ended == frozenset()


def test_a_session_ends_once_and_with_its_user(accounts: AccountStore) -> None:
    accounts.add_user(ANN, entry())
    accounts.begin(SESSION, FIRST, NOW + 60, entry("login"))
    accounts.begin(replace(SESSION, id="t"), SECOND, NOW + 60, entry("login"))
    assert (accounts.end(FIRST, NOW), accounts.end(FIRST, NOW), accounts.end(THIRD, NOW)) == (
        "ann",
        None,
        None,
    )
    assert accounts.proceed(FIRST, THIRD, NOW + 60, NOW) is None
    assert accounts.snapshot(0).ended == {"s"}
    accounts.change_user("ann", lambda user: replace(user, disabled=True), entry(), ends=NOW + 1)
    assert accounts.snapshot(0).ended == {"s", "t"}
    assert accounts.snapshot(NOW + 1).ended == {"t"}


def test_of_two_who_make_a_signing_key_one_is_taken(accounts: AccountStore) -> None:
    first = SigningKey(id="1", secret=b"1" * 64, created=NOW)
    second = SigningKey(id="2", secret=b"2" * 64, created=NOW + 1)
    assert accounts.add_signing_key(first, NOW + 60, entry())
    assert not accounts.add_signing_key(second, NOW + 60, entry())
    assert accounts.add_signing_key(second, NOW + 60, entry(), newest="1")
    assert accounts.snapshot(0).signing == (replace(first, expires=NOW + 60), second)
    assert len(accounts.audit()) == 2


def test_what_processes_use_adds_up(accounts: AccountStore) -> None:
    accounts.add_key(KEY, entry())
    day = (KEY.id, "2026-11-25")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: accounts.spend({day: 5}, {KEY.id: NOW + 5}), range(8)))
    assert accounts.spend({day: 1}, {KEY.id: NOW}) == {day: 41}
    found = accounts.snapshot(0)
    assert found.usage == {day: 41}
    assert found.keys[0].used == NOW + 5


def test_what_is_old_goes_and_nothing_else(accounts: AccountStore) -> None:
    accounts.add_user(ANN, entry("old"))
    accounts.add_key(KEY, entry("new", NOW + 50))
    accounts.begin(SESSION, FIRST, NOW + 60, entry("old"))
    accounts.begin(replace(SESSION, id="t"), SECOND, NOW + 600, entry("old"))
    accounts.spend({(KEY.id, "2026-11-25"): 1, (KEY.id, "2026-11"): 1}, {})
    old = SigningKey(id="1", secret=b"1" * 64, created=NOW)
    accounts.add_signing_key(old, NOW + 60, entry("old"))
    accounts.add_signing_key(replace(old, id="2", created=NOW + 1), NOW + 60, entry("old"), newest="1")
    accounts.forget(audit_before=NOW + 10, periods=frozenset({"2026-11"}), now=NOW + 60)
    found = accounts.snapshot(0)
    assert [line.what for line in accounts.audit()] == ["new"]
    assert found.usage == {(KEY.id, "2026-11"): 1}
    assert [key.id for key in found.signing] == ["2"]
    assert accounts.proceed(FIRST, THIRD, NOW + 999, NOW) is None
    assert accounts.proceed(SECOND, THIRD, NOW + 999, NOW + 60) is not None
    assert (found.users, found.keys) == ({"ann": ANN}, (KEY,))


def test_hostile_words_are_kept_as_what_every_database_can_keep(accounts: AccountStore) -> None:
    accounts.write([replace(entry(), who="\0\ud800\x1b[31m" + "x" * 1000, model="m" * 1000)])
    line = accounts.audit()[0]
    assert line.who.startswith("??\x1b[31mx")
    assert (len(line.who), len(line.model)) == (300, 255)


def test_users_live_beside_models_in_one_database(place: str | Path) -> None:
    state, accounts = open_store(place), open_accounts(place)
    state.save(Model(name="m", versions=(Version(version="1"),), default="1"), who="test", what="register")
    accounts.add_user(ANN, entry())
    state.close()
    accounts.close()
    state, accounts = open_store(place), open_accounts(place)
    assert [model.name for model in state.models()] == ["m"]
    assert accounts.snapshot(0).users == {"ann": ANN}
    state.close()
    accounts.close()


def test_the_tables_are_those_that_the_queries_know(accounts: AccountStore) -> None:
    inspector = sa.inspect(accounts._engine)
    for table in metadata.tables.values():
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(table.columns.keys())


def test_a_file_of_accounts_is_its_owners_alone(tmp_path: Path) -> None:
    open_accounts(tmp_path / "accounts.db").close()
    assert (tmp_path / "accounts.db").stat().st_mode & 0o777 == 0o600
