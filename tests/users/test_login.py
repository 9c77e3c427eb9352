"""Logins by a clock that a test turns: real hashes, a real store, a real event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import argon2
import pytest

from dragoman.config import AuthSettings, Settings
from dragoman.errors import InvalidInput, Overloaded, RateLimited, Unauthorized
from dragoman.users.access import Access
from dragoman.users.login import ACCOUNT, ADDRESS, AT_ONCE, WAITING, Login, Tokens
from dragoman.users.passwords import _nobody, hash_password, is_dated, verify_password
from dragoman.users.registrar import HEARD, By, UserChange

NOW = 1_795_000_000.0
HERE, THERE = "10.0.0.7", "10.0.0.8"
PASSWORD = "correct horse battery staple"
BY = By("test")


class World:
    """Who may, and the time."""

    def __init__(self, store: Path) -> None:
        self.now = NOW
        settings = Settings(auth=AuthSettings(store=str(store), key="a-key-that-may-everything"))
        self.access = Access(settings, clock=lambda: self.now)
        assert self.access.login is not None
        assert self.access.registrar is not None
        self.registrar = self.access.registrar
        self.login: Login = self.access.login

    async def enter(self, name: str = "ann", password: str = PASSWORD, address: str = HERE) -> Tokens:
        return await self.login.login(name, password, address)

    async def refused(self, name: str = "ann", password: str = "wrong", address: str = HERE) -> Exception:
        with pytest.raises((Unauthorized, RateLimited, Overloaded)) as caught:
            await self.enter(name, password, address)
        return caught.value

    def who(self, token: str) -> str:
        return self.access.authority.identify(token, HERE).name


@pytest.fixture
def live(tmp_path: Path) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]:
    """Runs a story in a world of its own, with one user."""

    def run(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            world = World(tmp_path / "accounts.db")
            world.registrar.add_user("ann", PASSWORD, ["read"], ["*"], BY)
            try:
                await story(world)
            finally:
                await world.access.stop()

        asyncio.run(main())

    return run


def test_a_password_is_worth_tokens_and_each_refresh_token_the_next(live):
    async def story(world: World) -> None:
        first = await world.enter()
        assert (first.access_lifetime, first.refresh_lifetime) == (900, 604_800)
        assert world.who(first.access) == "user ann"
        world.now += 901
        with pytest.raises(Unauthorized):
            world.who(first.access)
        second = await world.login.refresh(first.refresh, HERE)
        assert world.who(second.access) == "user ann"
        assert second.refresh != first.refresh

    live(story)


def test_a_refresh_token_that_comes_twice_ends_everything_that_came_of_the_login(live):
    async def story(world: World) -> None:
        stolen = await world.enter()
        other = await world.enter()
        thief = await world.login.refresh(stolen.refresh, THERE)
        with pytest.raises(Unauthorized):
            await world.login.refresh(stolen.refresh, HERE)
        for dead in (stolen, thief):
            with pytest.raises(Unauthorized):
                world.who(dead.access)
        with pytest.raises(Unauthorized):
            await world.login.refresh(thief.refresh, THERE)
        assert world.who(other.access) == "user ann"

    live(story)


def test_who_logs_out_is_out_at_once(live):
    async def story(world: World) -> None:
        tokens = await world.enter()
        assert world.who(tokens.access)
        await world.login.logout(tokens.refresh)
        await world.login.logout("unknown")
        await world.access.look()
        with pytest.raises(Unauthorized):
            world.who(tokens.access)
        with pytest.raises(Unauthorized):
            await world.login.refresh(tokens.refresh, HERE)

    live(story)


@pytest.mark.parametrize("change", [UserChange(disabled=True), UserChange(password=PASSWORD + "!")])
def test_who_is_disabled_or_gets_another_password_is_out_at_once(live, change):
    async def story(world: World) -> None:
        tokens = await world.enter()
        world.registrar.change_user("ann", change, BY)
        await world.access.look()
        with pytest.raises(Unauthorized):
            world.who(tokens.access)
        with pytest.raises(Unauthorized):
            await world.login.refresh(tokens.refresh, HERE)
        assert isinstance(await world.refused(password=PASSWORD), Unauthorized)

    live(story)


def test_other_roles_count_for_tokens_that_are_out(live):
    async def story(world: World) -> None:
        token = (await world.enter()).access
        assert world.access.authority.identify(token, HERE).roles == {"read"}
        world.registrar.change_user("ann", UserChange(roles=["manage"]), BY)
        await world.access.look()
        assert world.access.authority.identify(token, HERE).roles == {"manage"}

    live(story)


def test_guessing_one_account_is_slowed_down_from_wherever_it_comes(live):
    async def story(world: World) -> None:
        for number in range(ACCOUNT):
            assert isinstance(await world.refused(address=f"10.0.1.{number}"), Unauthorized)
        waits = []
        for _ in range(4):
            refused = await world.refused(password=PASSWORD, address=THERE)  # the right one has to wait, too
            assert isinstance(refused, RateLimited)
            waits.append(refused.retry_after)
            world.now += refused.retry_after
            assert isinstance(await world.refused(address=THERE), Unauthorized)
        assert waits == [1, 2, 4, 8]
        world.now += 16
        await world.enter()
        assert isinstance(await world.refused(), Unauthorized)  # all is forgotten: no wait

    live(story)


def test_guessing_many_accounts_from_one_address_is_slowed_down_for_that_address(live):
    async def story(world: World) -> None:
        for number in range(ADDRESS):
            assert isinstance(await world.refused(f"user{number}"), Unauthorized)
        assert isinstance(await world.refused(password=PASSWORD), RateLimited)
        assert await world.enter(address=THERE)

    live(story)


def test_logins_that_succeed_do_not_use_an_address_up(live):
    async def story(world: World) -> None:
        for _ in range(ADDRESS + 1):
            await world.enter()

    live(story)


def test_guessing_side_by_side_is_guessing(live):
    async def story(world: World) -> None:
        refused = await asyncio.gather(*(world.refused() for _ in range(3 * ACCOUNT)))
        assert sum(isinstance(each, Unauthorized) for each in refused) == ACCOUNT
        assert sum(isinstance(each, RateLimited) for each in refused) == 2 * ACCOUNT

    live(story)


def test_only_so_many_may_wait_to_be_hashed(live):
    async def story(world: World) -> None:
        count = WAITING + 3
        refused = await asyncio.gather(
            *(world.refused(f"user{number}", address=f"10.0.2.{number}") for number in range(count))
        )
        assert sum(isinstance(each, Overloaded) for each in refused) == 3
        assert AT_ONCE < WAITING

    live(story)


def test_the_event_loop_goes_on_while_passwords_are_hashed(live):
    async def story(world: World) -> None:
        entering = asyncio.create_task(world.enter())
        turns = 0
        while not entering.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        await entering

    live(story)


def test_an_unknown_user_costs_the_same_work_as_a_known_one():
    assert not verify_password(None, PASSWORD)
    assert argon2.extract_parameters(_nobody()) == argon2.extract_parameters(hash_password(PASSWORD))
    assert argon2.extract_parameters(_nobody()).type is argon2.Type.ID


def test_the_audit_tells_of_logins_and_of_no_password_in_the_place_of_a_name(live):
    async def story(world: World) -> None:
        await world.enter()
        await world.refused()
        await world.refused("Tr0ub4dor&3 is my password")
        await world.access.tick()
        lines = [
            (line.who, line.what, line.origin, line.outcome) for line in world.registrar.store.audit(limit=3)
        ]
        wrong = "refused: wrong name or password"
        assert sorted(lines) == [
            ("nobody", "login", HERE, wrong),
            ("nobody", "login as ann", HERE, wrong),
            ("user ann", "login", HERE, "done"),
        ]

    live(story)


def test_signing_keys_are_renewed_and_old_tokens_stay_good_until_they_expire(live):
    async def story(world: World) -> None:
        before = await world.enter()
        world.now += 10
        world.registrar.rotate(BY)
        early = await world.enter()
        world.now += HEARD
        after = await world.enter()
        heads = {token.access.split(".")[0] for token in (before, early, after)}
        assert len(heads) == 2  # the new one signs when all processes have heard of it
        assert [world.who(token.access) for token in (before, early, after)] == ["user ann"] * 3
        world.registrar.rotate(BY, at_once=True)
        await world.access.look()
        for token in (before, early, after):
            with pytest.raises(Unauthorized):
                world.who(token.access)
        assert world.who((await world.enter()).access) == "user ann"

    live(story)


def test_old_signing_keys_make_place_by_themselves(live):
    async def story(world: World) -> None:
        world.now += 2_592_001
        await world.access.tick()
        await world.access.tick()
        assert len((await world.access.look()).signing) == 2
        world.now += 3601
        await world.access.tick()
        await world.access.tick()
        assert len(world.registrar.look().signing) == 1

    live(story)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_has_a_length(password):
    with pytest.raises(InvalidInput) as caught:
        hash_password(password)
    assert password not in caught.value.message or not password


def test_a_hash_with_other_parameters_is_made_anew_at_the_next_login(live):
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    assert is_dated(weak)

    async def story(world: World) -> None:
        from dataclasses import replace

        from dragoman.store.accounts import Entry

        entry = Entry(at=NOW, who="test", what="an old hash")
        world.registrar.store.change_user("ann", lambda user: replace(user, password=weak), entry)
        await world.enter()
        assert not is_dated(world.registrar.look().users["ann"].password)
        await world.enter()

    live(story)


def test_long_passwords_and_odd_ones_are_whole(live):
    odd = "π" * 500 + "\ud800" + "x" * 400

    async def story(world: World) -> None:
        world.registrar.change_user("ann", UserChange(password=odd), BY)
        await world.enter(password=odd)
        await world.refused(password=odd[:-1])
        await world.refused(password=odd + "x" * 10_000)

    live(story)
