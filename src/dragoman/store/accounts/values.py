"""Users, keys and what they did, as plain values. Pure: knows no database and no clock.

No secret is in any of them, but for signing keys: passwords are hashes, keys and refresh tokens digests. Times are
seconds since 1970.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dragoman.errors import InvalidInput

#: Every model there is.
ALL: Final = ("*",)
#: Names that paths of the API have for something else.
RESERVED: Final = frozenset({"login", "refresh", "logout", "me"})
#: Patterns of one user or key, and characters of each.
MOST_PATTERNS: Final = 100
LONGEST: Final = 255

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a password, of which ``password`` is the Argon2id hash."""

    name: str
    password: str = field(repr=False)
    roles: frozenset[str]
    models: tuple[str, ...] = ALL
    disabled: bool = False
    created: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key for programs. ``digest`` is its SHA-256; ``id`` is part of it, and no secret.

    ``rate`` is in requests a second, with ``burst`` of them at once; ``daily`` and ``monthly`` are requests. 0 is no
    limit. ``expires`` 0 is never; ``revoked`` 0 is not.
    """

    id: str = ""
    digest: bytes = field(default=b"", repr=False)
    name: str = ""
    roles: frozenset[str]
    models: tuple[str, ...] = ALL
    rate: float = 0.0
    burst: int = 0
    daily: int = 0
    monthly: int = 0
    created: float = 0.0
    expires: float = 0.0
    used: float = 0.0
    revoked: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """What signs access tokens. The newest signs; each is good until ``expires``, 0 while it is the newest."""

    id: str
    secret: bytes = field(repr=False)
    created: float
    expires: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A login and all that came of it: ended as a whole, by its user or because a refresh token came twice."""

    id: str
    user: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that decides who may, at one moment. ``number`` grows with every change.

    ``ended`` are sessions that ended lately: their access tokens may not have expired yet. ``usage`` is what each key
    has used of its quotas, by key and period.
    """

    number: int
    users: Mapping[str, User]
    keys: tuple[Key, ...]
    signing: tuple[SigningKey, ...]
    ended: frozenset[str]
    usage: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the audit: who did what, to which model, from where, and what came of it. ``number`` is the store's."""

    at: float
    who: str
    what: str
    model: str = ""
    origin: str = ""
    outcome: str = "done"
    number: int = 0


def check_user(user: User) -> None:
    """Raises InvalidInput for a name, roles or patterns that can't be."""
    if not _NAME.fullmatch(user.name) or user.name in RESERVED:
        raise InvalidInput(
            "a user's name is up to 100 letters, digits and ._@+-, and begins with a letter or digit;"
            f" {', '.join(sorted(RESERVED))} are taken; got {user.name[:100]!r}"
        )
    _check_models(user.models)


def check_key(key: Key) -> None:
    """Raises InvalidInput for a name, patterns or limits that can't be."""
    if len(key.name) > LONGEST or not key.name.isprintable():
        raise InvalidInput(f"a key's name is at most {LONGEST} printable characters")
    if min(key.rate, key.burst, key.daily, key.monthly, key.expires) < 0 or key.rate > 1e9:
        raise InvalidInput("a key's rate, burst and quotas are at least 0, and 0 is no limit")
    if key.burst and not key.rate:
        raise InvalidInput("a key's burst needs a rate, in requests a second")
    if max(key.burst, key.daily, key.monthly) > 2**31 - 1:
        raise InvalidInput("a key's burst and quotas are at most 2147483647")
    _check_models(key.models)


def _check_models(patterns: tuple[str, ...]) -> None:
    if not patterns or len(patterns) > MOST_PATTERNS:
        raise InvalidInput(f"there must be 1 to {MOST_PATTERNS} patterns of models, got {len(patterns)}")
    for pattern in patterns:
        if not 0 < len(pattern) <= LONGEST or not pattern.isprintable():
            raise InvalidInput(
                f"a pattern of models is 1 to {LONGEST} printable characters, got {pattern[:100]!r}"
            )
