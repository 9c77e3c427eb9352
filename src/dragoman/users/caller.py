"""Somebody who has shown who it is: which operations and models are its, and how much of them it has left."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from math import ceil, inf
from typing import Final

from dragoman.errors import Forbidden, RateLimited, Unauthorized
from dragoman.store.accounts import Key, User
from dragoman.transport.auth import ALLOWED, Caller
from dragoman.transport.request import NO_LINES, Lines
from dragoman.users.keys import shown
from dragoman.users.limits import Limits

#: Names of models that are remembered as allowed or not: strangers don't choose them, but clients do.
_REMEMBERED: Final = 1024


class KnownCaller(Caller):
    """A key or a user, as long as it has not changed. ``clock`` tells seconds since 1970."""

    __slots__ = (
        "_clock",
        "_models",
        "_name",
        "_seen",
        "everything",
        "expires",
        "key",
        "limits",
        "operations",
        "revoked",
        "roles",
    )

    def __init__(
        self,
        name: str,
        roles: frozenset[str],
        models: tuple[str, ...],
        expires: float,
        clock: Callable[[], float],
        key: str = "",
        limits: Limits | None = None,
    ) -> None:
        self._name = name
        self._models = models
        self._seen: dict[str, bool] = {}
        self._clock = clock
        self.roles = roles
        self.operations = frozenset(name for name, needed in ALLOWED.items() if not needed or needed & roles)
        self.everything = "*" in models  #: every model is its
        self.expires = expires or inf
        self.key = key  #: the id of the key, where it is one that is kept
        self.limits = limits
        self.revoked = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def models(self) -> tuple[str, ...]:
        """The patterns of its models."""
        return self._models

    def allows(self, model: str) -> bool:
        if self.everything:
            return True
        known = self._seen.get(model)
        if known is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            known = self._seen[model] = any(fnmatchcase(model, pattern) for pattern in self._models)
        return known

    def check(self, model: str) -> None:
        if not self.allows(model):
            raise Forbidden(f"this key is not for model {model!r}: it is for {_listed(self._models)}")

    def check_operation(self, operation: str) -> None:
        """Raises Forbidden unless one of its roles is enough."""
        if operation not in self.operations:
            needed = " or ".join(sorted(ALLOWED[operation] or ()))
            raise Forbidden(
                f"{operation} needs the role {needed}, this key has {', '.join(sorted(self.roles))}"
            )

    def check_everything(self) -> None:
        """Raises Forbidden unless all models are its."""
        if not self.everything:
            raise Forbidden(f"this is about all models, and this key is for {_listed(self._models)} only")

    def spend(self) -> None:
        now = self._clock()
        if self.revoked or now >= self.expires:
            raise Unauthorized("the key has expired or was revoked")

        if self.limits is not None and (wait := self.limits.take(now)):
            raise RateLimited(f"this key has asked too often: again in {ceil(wait)} s", ceil(wait))

    def left(self) -> dict[str, str]:
        """Headers that tell what is left; none where nothing is limited."""
        if self.limits is None:
            return {}
        return {"RateLimit-Policy": self.limits.policy, "RateLimit": self.limits.left(self._clock())}

    def lines(self) -> Lines:
        """The same, as they are written."""
        limits = self.limits
        if limits is None:
            return NO_LINES
        return Lines(f"RateLimit-Policy: {limits.policy}\r\nRateLimit: {limits.left(self._clock())}\r\n")


def caller_of_key(key: Key, limits: Limits | None, clock: Callable[[], float]) -> KnownCaller:
    """Who brings this key."""
    label = f"key {shown(key)}" + (f" ({key.name})" if key.id and key.name else "")
    return KnownCaller(label, key.roles, key.models, key.expires, clock, key.id, limits)


def caller_of_user(user: User, expires: float, clock: Callable[[], float]) -> KnownCaller:
    """Who has logged in as this user, until its token expires."""
    return KnownCaller(f"user {user.name}", user.roles, user.models, expires, clock)


def _listed(patterns: tuple[str, ...]) -> str:
    return ", ".join(patterns[:5]) + (", ..." if len(patterns) > 5 else "")
