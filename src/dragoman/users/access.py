"""Who may, running: keys and users are read from the store, kept up to date, and what they use is written back.

::

    arrange, before the server ──► start ──► every second: news? usage, audit; every hour: what is old ──► stop
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from dragoman.config import AuthSettings, Settings
from dragoman.errors import ConfigError, DragomanError
from dragoman.store.accounts import Key, Snapshot, open_accounts
from dragoman.transport.auth import ROLES, digest_of
from dragoman.transport.origin import is_loopback
from dragoman.users.authority import Authority
from dragoman.users.guards import Guards
from dragoman.users.keys import make_key
from dragoman.users.limits import periods_at
from dragoman.users.login import Lifetimes, Login
from dragoman.users.recorder import Recorder
from dragoman.users.registrar import By, Registrar, anybody

if TYPE_CHECKING:
    from dragoman.store.accounts.database import AccountStore

log = logging.getLogger("dragoman.users")

#: Seconds between two looks at what others have changed, and two writes of what was used.
INTERVAL: Final = 1.0
#: Seconds between two times that old rows are taken away.
TIDY: Final = 3600.0
#: Characters of a key that stands in the settings.
SHORTEST: Final = 16


def asks_for_keys(settings: Settings) -> bool:
    """Whether callers have to show who they are: where others than this machine can reach the server, unless they
    show certificates; and where the operator has said so."""
    said, server = settings.auth, settings.server
    if said.mode != "auto":
        return said.mode == "on"
    if said.key or said.store:
        return True
    return not is_loopback(server.host) and not server.tls_client_ca


def store_of(settings: Settings) -> str:
    """Where users and keys are kept; empty where they are not."""
    return settings.auth.store or settings.management.state


def arrange(settings: Settings) -> tuple[Settings, str]:
    """The settings with which the server can start, and the key that was made because there was none: it is shown once.

    Blocks. A key that can be kept is kept, as its digest; otherwise it lives as long as the server. Raises ConfigError.
    """
    _check_key(settings.auth.key)
    if not asks_for_keys(settings) or settings.auth.key:
        return settings, ""
    wanted = Key(name="made at the first start", roles=frozenset({"admin"}))
    where = store_of(settings)
    if not where:
        _, text = make_key(wanted)
        return replace(settings, auth=replace(settings.auth, key=text)), text
    store = open_accounts(where)
    try:
        registrar = Registrar(store, settings.auth.access_lifetime)
        if anybody(registrar.look(), time.time()):
            return settings, ""
        return settings, registrar.create_key(wanted, By("server"))[1]
    finally:
        store.close()


class Access:
    """Of one server process, of which there are ``share``. ``start`` it on the event loop, ``stop`` it there."""

    def __init__(self, settings: Settings, share: int = 1, clock: Callable[[], float] = time.time) -> None:
        """Blocks. Raises ConfigError where the store can't be read."""
        self._said: AuthSettings = settings.auth
        self._clock = clock
        self._lifetimes = Lifetimes(
            self._said.access_lifetime, self._said.refresh_lifetime, self._said.signing_lifetime
        )
        where = store_of(settings)
        self._store: AccountStore | None = open_accounts(where) if where else None
        self.recorder = Recorder(keeps=self._store is not None, clock=clock)
        logins = self._store is not None and _installed("argon2") and _installed("jwt")
        self.authority = Authority(_fixed(settings), share=share, logins=logins, clock=clock)
        self.guards = Guards(self.authority, self.recorder)
        self.registrar: Registrar | None = None
        self.login: Login | None = None  #: where users can log in
        if self._store is not None:
            self.registrar = Registrar(self._store, self._said.access_lifetime, clock)
            if logins:
                self.registrar.keep_signing(self._lifetimes.signing)
                self.login = Login(self.registrar, self.recorder, self._lifetimes, self.look, clock)
            self.authority.update(self.registrar.look())
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._tidied = clock()
        self._failing = False

    def start(self) -> None:
        """From now on changes that others make are seen."""
        if self._store is not None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write what is not written yet, and close the store."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def look(self) -> Snapshot:
        """Bring what decides who may up to date, if there is news. Raises DragomanError."""
        assert self._store is not None
        if await asyncio.to_thread(self._store.number) != self.authority.snapshot.number:
            assert self.registrar is not None
            self.authority.update(await asyncio.to_thread(self.registrar.look))
        return self.authority.snapshot

    async def tick(self) -> None:
        """What is done every second. A store that fails is tried again, and nobody is locked out or let in by it."""
        try:
            await self.look()
            await self._write()
            await self._tidy()
        except DragomanError as error:
            if not self._failing:
                log.error("users and keys can't be brought up to date", extra={"reason": error.message})
            self._failing = True
        else:
            self._failing = False

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), INTERVAL)
            await self.tick()

    async def _write(self) -> None:
        assert self._store is not None
        used, last = self.authority.drain()
        if used or last:
            self.authority.settle(used, await asyncio.to_thread(self._store.spend, used, last))
        if lines := self.recorder.drain():
            try:
                await asyncio.to_thread(self._store.write, lines)
            except DragomanError:
                self.recorder.put_back(lines)
                raise

    async def _tidy(self) -> None:
        assert self._store is not None
        now = self._clock()
        if now - self._tidied < TIDY:
            return
        self._tidied = now
        before = now - self._said.audit_retention if self._said.audit_retention else 0.0
        await asyncio.to_thread(self._forget, before, now)
        if self.login is not None and self.registrar is not None:
            await asyncio.to_thread(self.registrar.keep_signing, self._lifetimes.signing)

    def _forget(self, before: float, now: float) -> None:
        assert self._store is not None
        self._store.forget(audit_before=before, periods=periods_at(now), now=now)


def _check_key(key: str) -> None:
    """Raises ConfigError for one that could be guessed, or that no client can send."""
    if key and (len(key) < SHORTEST or not all("!" <= letter <= "~" for letter in key)):
        raise ConfigError(
            f"auth.key needs at least {SHORTEST} characters of ASCII, and no blanks",
            hint="openssl rand -hex 32 makes one",
        )


def _fixed(settings: Settings) -> list[Key]:
    """The keys that stand in the settings."""
    keys = []
    if settings.auth.key:
        keys.append(Key(digest=digest_of(settings.auth.key), roles=frozenset(ROLES), id="", name="auth.key"))
    if settings.management.key:
        roles = frozenset({"manage"})
        keys.append(Key(digest=digest_of(settings.management.key), roles=roles, name="management.key"))
    return keys


def _installed(module: str) -> bool:
    return find_spec(module) is not None
