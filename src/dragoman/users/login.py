"""Logs users in and out: a password for an access token and a refresh token, a refresh token for the next pair.

Passwords are hashed on threads, a few at a time, so that requests go on meanwhile. Who guesses is slowed down, for
each account and for each address; that costs no hash.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Final

from dragoman.errors import NotReady, Overloaded, RateLimited, Unauthorized
from dragoman.store.accounts import Entry, Session, Snapshot, User
from dragoman.transport.auth import digest_of
from dragoman.users.attempts import Attempts
from dragoman.users.passwords import hash_password, is_dated, verify_password
from dragoman.users.registrar import signer_of
from dragoman.users.tokens import Claims, sign

if TYPE_CHECKING:
    from dragoman.store.accounts.database import AccountStore
    from dragoman.users.recorder import Recorder
    from dragoman.users.registrar import Registrar

#: Passwords that are hashed side by side: each takes 64 MiB. More wait, up to so many.
AT_ONCE: Final = 2
WAITING: Final = 32
#: Failures before there is a wait, of one account and from one address.
ACCOUNT: Final = 5
ADDRESS: Final = 20


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives. Lifetimes are in seconds."""

    access: str
    access_lifetime: float
    refresh: str
    refresh_lifetime: float


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds: of access tokens, of refresh tokens, of the keys that sign (0: for ever)."""

    access: float
    refresh: float
    signing: float


class Login:
    """On the event loop; the store's calls run on threads."""

    def __init__(
        self,
        registrar: "Registrar",
        recorder: "Recorder",
        lifetimes: Lifetimes,
        look: Callable[[], Awaitable[Snapshot]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``look`` brings what decides who may up to date, and tells it."""
        self._registrar = registrar
        self._store: AccountStore = registrar.store
        self._recorder = recorder
        self._lifetimes = lifetimes
        self._look = look
        self._clock = clock
        self._accounts = Attempts(ACCOUNT)
        self._addresses = Attempts(ADDRESS)
        self._hashing = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def login(self, name: str, password: str, address: str) -> Tokens:
        """Raises Unauthorized, RateLimited, and Overloaded where too many log in at once."""
        user = await self._find(name, password, address)
        now = self._clock()
        session = Session(id=secrets.token_hex(16), user=user.name, created=now)
        refresh, expires = secrets.token_urlsafe(32), now + self._lifetimes.refresh
        entry = Entry(at=now, who=f"user {user.name}", what="login", origin=address)
        await asyncio.to_thread(self._store.begin, session, digest_of(refresh), expires, entry)
        return await self._answer(session, refresh)

    async def refresh(self, token: str, address: str) -> Tokens:
        """The next pair for a refresh token, which is worth nothing from now on. Raises Unauthorized, RateLimited."""
        now = self._clock()
        if wait := self._addresses.wait(address, now):
            raise _too_often(wait)
        following, expires = secrets.token_urlsafe(32), now + self._lifetimes.refresh
        old, new = digest_of(token), digest_of(following)
        session = await asyncio.to_thread(self._store.proceed, old, new, expires, now)
        if session is None:
            self._addresses.failed(address, now)
            await self._look()  # if it came twice, its session has just ended
            raise Unauthorized("the refresh token is wrong, used or expired: log in again")
        return await self._answer(session, following)

    async def logout(self, token: str) -> None:
        """The session of this refresh token ends, and its access tokens with it. One that is unknown is no error."""
        await asyncio.to_thread(self._store.end, digest_of(token), self._clock())

    async def _find(self, name: str, password: str, address: str) -> User:
        """The user whose name and password these are; the answer takes as long whoever is asked for."""
        now = self._clock()
        if wait := max(self._accounts.wait(name, now), self._addresses.wait(address, now)):
            raise _too_often(wait)
        if self._waiting >= WAITING:
            raise Overloaded("too many logins at once: try again", 1)
        # Counted first: who tries many side by side has tried many.
        self._accounts.failed(name, now)
        self._addresses.failed(address, now)
        self._waiting += 1
        try:
            async with self._hashing:
                user, right = await asyncio.to_thread(self._verify, name, password)
        finally:
            self._waiting -= 1
        if user is None or not right:
            # People type passwords where the name belongs: only a user's name is written down.
            what = "login" if user is None else f"login as {user.name}"
            self._recorder.record("", what, address, "refused: wrong name or password")
            raise Unauthorized("the name or the password is wrong")
        self._accounts.succeeded(name)
        self._addresses.forgive(address)
        return user

    def _verify(self, name: str, password: str) -> tuple[User | None, bool]:
        """The user of that name, and whether it is the right password of one who may log in."""
        user = self._registrar.look().users.get(name)
        right = verify_password(user.password if user is not None else None, password)
        if user is None or not right or user.disabled:
            return user, False
        if is_dated(user.password):
            self._keep_anew(user, hash_password(password))
        return user, True

    def _keep_anew(self, user: User, kept: str) -> None:
        """The same password, hashed as one would today."""
        entry = Entry(at=self._clock(), who="server", what=f"hash password of user {user.name} anew")
        self._store.change_user(user.name, lambda now: replace(now, password=kept), entry)

    async def _answer(self, session: Session, refresh: str) -> Tokens:
        said, snapshot, now = self._lifetimes, await self._look(), self._clock()
        key = signer_of(snapshot, now)
        if key is None:
            raise NotReady("there is no key to sign with yet: try again")
        access = sign(key, Claims(session.user, session.id, now + said.access), now)
        return Tokens(access, said.access, refresh, said.refresh)


def _too_often(wait: float) -> RateLimited:
    return RateLimited(f"too many failed logins: again in {ceil(wait)} s", ceil(wait))
