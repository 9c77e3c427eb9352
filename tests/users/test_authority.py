"""From a secret to who brings it, by a clock that a test turns."""

from dataclasses import replace

import pytest

from dragoman.errors import Forbidden, RateLimited, Unauthorized
from dragoman.store.accounts import Key, Snapshot, User
from dragoman.users.authority import FREE, Authority
from dragoman.users.keys import make_key
from dragoman.users.tokens import Claims, make_signing_key, sign

NOW = 1_795_000_000.0
HERE = "10.0.0.7"
SIGNING = make_signing_key(NOW)
ANN = User(name="ann", password="", roles=frozenset({"read"}), created=NOW)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(clock: Clock) -> Authority:
    return Authority(logins=True, clock=clock)


def snapshot(*keys: Key, users: tuple[User, ...] = (), **more: object) -> Snapshot:
    said = {"number": 1, "signing": (SIGNING,), "ended": frozenset(), "usage": {}} | more
    return Snapshot(keys=keys, users={user.name: user for user in users}, **said)  # type: ignore[arg-type]


def made(**more: object) -> tuple[Key, str]:
    return make_key(Key(roles=frozenset({"infer"}), created=NOW, **more))  # type: ignore[arg-type]


def test_a_key_is_known_by_all_of_it(authority: Authority) -> None:
    key, text = made(name="ci")
    authority.update(snapshot(key))
    assert authority.identify(text, HERE).name == f"key dk_{key.id} (ci)"
    for wrong in (None, "", text[:-1], text + "x", text.upper(), key.digest.hex(), f"dk_{key.id}_"):
        with pytest.raises(Unauthorized) as caught:
            authority.identify(wrong, HERE)
        assert text not in caught.value.message


def test_a_key_is_worth_nothing_once_it_has_expired_or_was_revoked(
    authority: Authority, clock: Clock
) -> None:
    key, text = made(expires=NOW + 60)
    authority.update(snapshot(key))
    caller = authority.identify(text, HERE)
    clock.now += 60
    with pytest.raises(Unauthorized):
        authority.identify(text, HERE)
    with pytest.raises(Unauthorized):
        caller.spend()  # of a stream that it has open
    clock.now -= 60
    caller.spend()
    authority.update(snapshot(replace(key, revoked=NOW)))
    with pytest.raises(Unauthorized):
        authority.identify(text, HERE)
    with pytest.raises(Unauthorized):
        caller.spend()


def test_who_tries_keys_is_told_to_wait_and_nobody_else_is(authority: Authority, clock: Clock) -> None:
    key, text = made()
    authority.update(snapshot(key, users=(ANN,)))
    for number in range(FREE):
        with pytest.raises(Unauthorized):
            authority.identify(f"guess {number}", HERE)
    with pytest.raises(RateLimited) as caught:
        authority.identify("one more", HERE)
    assert caught.value.retry_after == 1
    assert authority.identify(text, HERE)
    assert authority.identify(sign(SIGNING, Claims("ann", "s", NOW + 900), NOW), HERE)
    with pytest.raises(Unauthorized):
        authority.identify("one more", "10.0.0.8")
    clock.now += 1
    with pytest.raises(Unauthorized):
        authority.identify("one more", HERE)
    with pytest.raises(RateLimited) as caught:
        authority.identify("one more", HERE)
    assert caught.value.retry_after == 2


def test_a_token_is_worth_what_its_user_may_now(authority: Authority, clock: Clock) -> None:
    authority.update(snapshot(users=(ANN,)))
    token = sign(SIGNING, Claims("ann", "s", NOW + 900), NOW)
    caller = authority.identify(token, HERE)
    assert caller.name == "user ann"
    with pytest.raises(Forbidden):
        caller.check_operation("management")
    authority.update(snapshot(made()[0], users=(ANN,)))  # somebody else's affair
    caller.spend()
    authority.update(snapshot(users=(replace(ANN, roles=frozenset({"manage"})),)))
    authority.identify(token, HERE).check_operation("management")
    for worthless in (
        snapshot(users=(replace(ANN, disabled=True),)),
        snapshot(),
        snapshot(users=(ANN,), ended=frozenset({"s"})),
        snapshot(users=(ANN,), signing=()),
    ):
        authority = Authority(logins=True, clock=clock)
        authority.update(snapshot(users=(ANN,)))
        authority.update(worthless)
        with pytest.raises(Unauthorized):
            authority.identify(token, HERE)
    clock.now += 900
    with pytest.raises(Unauthorized):
        authority.identify(token, HERE)


def test_a_token_that_is_known_dies_with_its_session_its_user_and_its_key(clock: Clock) -> None:
    token = sign(SIGNING, Claims("ann", "s", NOW + 900), NOW)
    for worthless in (
        snapshot(users=(replace(ANN, disabled=True),)),
        snapshot(users=(replace(ANN, created=NOW + 1),)),  # another of that name
        snapshot(),
        snapshot(users=(ANN,), ended=frozenset({"s"})),
        snapshot(users=(ANN,), signing=(make_signing_key(NOW),)),
    ):
        authority = Authority(logins=True, clock=clock)
        authority.update(snapshot(users=(ANN,)))
        caller = authority.identify(token, HERE)
        authority.update(worthless)
        if worthless.users.get("ann", ANN).created != NOW + 1:
            with pytest.raises(Unauthorized):
                authority.identify(token, HERE)
        with pytest.raises(Unauthorized):
            caller.spend()


def test_without_logins_no_token_is_looked_at(clock: Clock) -> None:
    authority = Authority(logins=False, clock=clock)
    authority.update(snapshot(users=(ANN,)))
    with pytest.raises(Unauthorized):
        authority.identify(sign(SIGNING, Claims("ann", "s", NOW + 900), NOW), HERE)


def test_what_a_key_has_left_outlives_changes_of_others(authority: Authority) -> None:
    key, text = made(rate=1.0, burst=2)
    authority.update(snapshot(key))
    authority.identify(text, HERE).spend()
    authority.update(snapshot(replace(key, used=NOW), made()[0]))
    authority.identify(text, HERE).spend()
    authority.update(snapshot(replace(key, name="renamed")))
    with pytest.raises(RateLimited):
        authority.identify(text, HERE).spend()
    authority.update(snapshot(replace(key, burst=5)))
    authority.identify(text, HERE).spend()


def test_what_was_used_is_handed_over_once_it_was_taken(authority: Authority) -> None:
    key, text = made(daily=10)
    authority.update(snapshot(key))
    for _ in range(3):
        authority.identify(text, HERE).spend()
    period = (key.id, "2026-11-18")
    used, last = authority.drain()
    assert (used, last) == ({period: 3}, {key.id: NOW})
    assert authority.drain()[0] == {period: 3}  # nobody has taken it yet
    authority.identify(text, HERE).spend()
    authority.settle(used, {period: 8})  # five of them are another process's
    assert authority.drain()[0] == {period: 1}
    assert authority.identify(text, HERE).left()["RateLimit"].startswith('"day";r=1;')
    authority.identify(text, HERE).spend()
    with pytest.raises(RateLimited):
        authority.identify(text, HERE).spend()


def test_patterns_are_of_whole_names_and_letter_for_letter(authority: Authority) -> None:
    key, text = made(models=("iris", "bert-*", "v[12]"))
    authority.update(snapshot(key))
    caller = authority.identify(text, HERE)
    for _ in range(2):
        names = ("iris", "Iris", "iris2", "bert-", "bert-x", "xbert-x", "v1", "v3", "")
        assert [name for name in names if caller.allows(name)] == ["iris", "bert-", "bert-x", "v1"]
    with pytest.raises(Forbidden, match="not for model 'secret'"):
        caller.check("secret")
    with pytest.raises(Forbidden):
        caller.check_everything()


def test_strangers_names_do_not_fill_a_keys_memory(authority: Authority) -> None:
    key, text = made(models=("iris",))
    authority.update(snapshot(key))
    caller = authority.identify(text, HERE)
    for number in range(5000):
        assert not caller.allows(f"m{number}")
    assert len(caller._seen) <= 1024
