"""From a key or an access token to who brings it: a digest in a table, in memory. Knows no header and no database.

Keys are known by their SHA-256. What has been verified once is remembered until somebody changes something; who tries
wrong ones is told to wait, and nobody else.
"""

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Final

from dragoman.errors import RateLimited, Unauthorized
from dragoman.store.accounts import Key, Snapshot
from dragoman.transport.auth import digest_of
from dragoman.users.attempts import Attempts
from dragoman.users.caller import KnownCaller, caller_of_key, caller_of_user
from dragoman.users.limits import Limits, Quota
from dragoman.users.tokens import BadToken, Claims, verify

#: Access tokens that are remembered as verified.
_REMEMBERED: Final = 4096
#: Wrong keys from one address before it has to wait; then for a second, two, ... up to a minute.
FREE: Final = 100
LONGEST: Final = 60.0

_NONE: Final = Snapshot(number=-1, users={}, keys=(), signing=(), ended=frozenset(), usage={})


class Authority:
    """``fixed`` are keys that no store has. ``share`` is how many processes divide rates between them, ``logins`` says
    whether access tokens are known at all."""

    def __init__(
        self,
        fixed: Iterable[Key] = (),
        *,
        share: int = 1,
        logins: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fixed = tuple(fixed)
        self._share = share
        self._logins = logins
        self._clock = clock
        self._wrong = Attempts(FREE, LONGEST)
        self._callers: dict[bytes, KnownCaller] = {}
        self._kept: dict[str, tuple[Key, KnownCaller]] = {}
        self._sessions: dict[bytes, tuple[Claims, KnownCaller]] = {}
        self._used: dict[str, float] = {}
        self.snapshot = _NONE
        self.update(_NONE)

    def known(self, digest: bytes) -> KnownCaller | None:
        """Who brings the key or token of this SHA-256, if that is known already: what nearly every request asks.

        What a look-up's time could tell is about the digest of a guess, which nobody can choose.
        """
        caller = self._callers.get(digest)
        if caller is None:
            session = self._sessions.get(digest)
            if session is None:
                return None
            caller = session[1]
        now = self._clock()
        if now >= caller.expires:
            return None
        if caller.key:
            self._used[caller.key] = now
        return caller

    def identify(self, secret: str | None, address: str) -> KnownCaller:
        """Who brings this key or token, from this address. Raises Unauthorized, and RateLimited who tries many."""
        if secret is None:
            raise Unauthorized("a key is needed: send it as 'Authorization: Bearer ...' or 'X-API-Key: ...'")
        now = self._clock()
        caller = self.known(digest_of(secret)) or self._verify(secret, now)
        if caller is not None:
            return caller
        if wait := self._wrong.wait(address, now):
            raise RateLimited("too many wrong keys from this address", ceil(wait))
        self._wrong.failed(address, now)
        raise Unauthorized("the key is wrong, or it has expired or was revoked")

    def update(self, snapshot: Snapshot) -> None:
        """From now on this decides. What keys have left stays theirs, where their limits are the same."""
        now = self._clock()
        before, kept, callers = self._kept, {}, {}
        for key in snapshot.keys:
            if key.revoked:
                continue
            old, caller = before.get(key.id, (None, None))
            if caller is None or old is None or not _same(old, key):
                caller = caller_of_key(key, self._limits(key, old, caller, snapshot.usage, now), self._clock)
            kept[key.id] = key, caller
            callers[key.digest] = caller
        for key in self._fixed:
            callers[key.digest] = self._callers.get(key.digest) or caller_of_key(key, None, self._clock)
        sessions = {
            digest: (claims, caller)
            for digest, (claims, caller) in self._sessions.items()
            if _lives(claims, self.snapshot, snapshot, now)
        }
        still = {*map(id, callers.values()), *(id(caller) for _, caller in sessions.values())}
        for caller in (*self._callers.values(), *(caller for _, caller in self._sessions.values())):
            caller.revoked = id(caller) not in still
        self.snapshot, self._kept, self._callers, self._sessions = snapshot, kept, callers, sessions

    def drain(self) -> tuple[dict[tuple[str, str], int], dict[str, float]]:
        """What was used since the last time, by key and period, and when each key was used last."""
        used = {(key, quota.period): quota.unsaid for key, quota in self._quotas() if quota.unsaid}
        last, self._used = self._used, {}
        return used, last

    def settle(self, said: Mapping[tuple[str, str], int], sums: Mapping[tuple[str, str], int]) -> None:
        """The store has taken what was ``said``; ``sums`` are what all processes have used."""
        for key, quota in self._quotas():
            if (key, quota.period) in sums:
                quota.settle(quota.period, sums[key, quota.period], said.get((key, quota.period), 0))

    def _quotas(self) -> list[tuple[str, Quota]]:
        return [
            (key, quota)
            for key, (_, caller) in self._kept.items()
            if caller.limits is not None
            for quota in caller.limits.quotas
        ]

    def _verify(self, secret: str, now: float) -> KnownCaller | None:
        """The user whose access token it is; remembered."""
        if not self._logins or secret.count(".") != 2:
            return None
        try:
            claims = verify(secret, self.snapshot.signing, now)
        except BadToken:
            return None
        user = self.snapshot.users.get(claims.user)
        if user is None or not _lives(claims, self.snapshot, self.snapshot, now):
            return None
        if len(self._sessions) >= _REMEMBERED:
            self._sessions.clear()
        caller = caller_of_user(user, claims.expires, self._clock)
        self._sessions[digest_of(secret)] = claims, caller
        return caller

    def _limits(
        self,
        key: Key,
        old: Key | None,
        caller: KnownCaller | None,
        usage: Mapping[tuple[str, str], int],
        now: float,
    ) -> Limits | None:
        if not (key.rate or key.daily or key.monthly):
            return None
        if old is not None and caller is not None and _limits_of(old) == _limits_of(key):
            return caller.limits
        return Limits(key, usage, now, self._share)


def _lives(claims: Claims, before: Snapshot, after: Snapshot, now: float) -> bool:
    """Whether what a token was worth before it is worth still."""
    old, new = before.users.get(claims.user), after.users.get(claims.user)
    if old is None or new is None or new.disabled or claims.session in after.ended:
        return False
    if not any(key.id == claims.key and not 0 < key.expires <= now for key in after.signing):
        return False
    return (old.roles, old.models, old.created) == (new.roles, new.models, new.created)


def _same(old: Key, new: Key) -> bool:
    """Whether nothing has changed but when it was used."""
    return (
        hmac.compare_digest(old.digest, new.digest)
        and (old.roles, old.models, old.expires, old.name) == (new.roles, new.models, new.expires, new.name)
        and _limits_of(old) == _limits_of(new)
    )


def _limits_of(key: Key) -> tuple[float, int, int, int]:
    return key.rate, key.burst, key.daily, key.monthly
