"""Who may: headers, keys, roles and what is asked for in, yes or no out. Pure: no clock, no file, no path.

Of a key only its digest is kept here, and digests are compared in constant time. What a request asks for is the
operation that its route declares: how the client has written the route plays no part.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: What keys and users can be given; "manage" is for models, "admin" for everything, keys and users among it.
ROLES: Final = ("infer", "read", "manage", "admin")

_LOOK: Final = frozenset({"read", "manage", "admin"})
_CHANGE: Final = frozenset({"manage", "admin"})
_USE: Final = frozenset({"infer", "admin"})

#: Everything that can be asked of a server, and the roles of which one is needed; ``None`` lets everybody in. A route
#: declares one of these, or is no route. This is the one table, for REST and gRPC.
ALLOWED: Final[Mapping[str, frozenset[str] | None]] = {
    "health": None,
    "metadata": frozenset(ROLES),
    "inference": _USE,
    "shared-memory": _USE,
    "model-config": frozenset(ROLES),
    "model-index": _LOOK,
    "model-repository": _CHANGE,
    "statistics": _LOOK,
    "trace": _CHANGE,
    "logging": _CHANGE,
    "inspection": _LOOK,
    "management": _CHANGE,
    "login": None,
    "identity": frozenset(ROLES),
    "accounts": frozenset({"admin"}),
    "pages": None,
}
OPERATIONS: Final = tuple(ALLOWED)

#: Operations that are restricted together, under the name that operators write: Triton has no other for them.
TOGETHER: Final[Mapping[str, tuple[str, ...]]] = {
    "model-repository": ("model-repository", "model-index"),
    "management": ("management", "inspection"),
}


class About(Enum):
    """What a route or method says of models, where its path doesn't name one."""

    MODELS = "all of them: only for who may use all"
    SERVER = "nothing"
    HANDLER = "its handler asks the caller about each"


class Caller:
    """Who asks, as protocols see it. This one is anybody, where nobody is asked for a key."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """For the history: whose key or which user it is; empty where that isn't known."""
        return ""

    def allows(self, model: str) -> bool:
        """Whether the caller may use and see this model."""
        return True

    def check(self, model: str) -> None:
        """Raises Forbidden unless the caller may use this model."""

    def spend(self) -> None:
        """One more request of a stream. Raises RateLimited, and Unauthorized once the key is worth nothing."""


ANYBODY: Final = Caller()

_BEARER: Final = re.compile(r"Bearer\s+(\S+)")
_RESTRICTION: Final = re.compile(
    r"(?P<operations>[a-z][a-z,\s-]*)[:,](?P<header>[\w!#$%&'*+.^`|~-]+)=(?P<value>\S+)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Key:
    """What opens a door: a key's SHA-256 and until when, in seconds since 1970; ``None`` is for ever."""

    digest: bytes
    expires: float | None = None


def make_key(secret: str, expires: float | None = None) -> Key:
    """The ``Key`` of a secret."""
    return Key(digest_of(secret), expires)


def authorize(header: str | None, keys: Iterable[Key], now: float) -> bool:
    """Whether an ``Authorization`` header brings one of these keys, not expired at ``now``.

    Only ``Bearer``, written like this, then the key. How long the answer takes tells nothing about any key.
    """
    match = _BEARER.fullmatch(header or "")
    digest = digest_of(match[1] if match else "")
    allowed = False
    for key in keys:
        same = hmac.compare_digest(digest, key.digest)
        allowed |= same and (key.expires is None or now < key.expires)
    return allowed and match is not None


def digest_of(secret: str) -> bytes:
    """The SHA-256 by which a secret is known. Secrets are random and long: nothing slower is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Restriction:
    """Operations for which a header has to have a certain value, known by its SHA-256."""

    operations: frozenset[str]
    header: str
    digest: bytes


def parse_restriction(text: str, prefix: str = "") -> Restriction:
    """``inference,health:key=value``, as tritonserver takes it. ``prefix`` belongs before the key in the header's name.

    A comma may stand for the colon, as its help says. Raises ValueError.
    """
    match = _RESTRICTION.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected operations:key=value, as in inference,health:key=value")
    names = frozenset(name.strip() for name in match["operations"].split(","))
    if unknown := sorted(names - frozenset(OPERATIONS)):
        raise ValueError(f"unknown operation {unknown[0]!r}, known: {', '.join(OPERATIONS)}")
    operations = frozenset(each for name in names for each in TOGETHER.get(name, (name,)))
    return Restriction(operations, prefix + match["header"].lower(), digest_of(match["value"]))


def parse_restrictions(text: str, prefix: str = "") -> list[Restriction]:
    """Any number of them, with semicolons between. Raises ValueError."""
    return [parse_restriction(each, prefix) for each in text.split(";") if each.strip()]


class Permissions:
    """The one table of what each operation asks for. What isn't in it is denied."""

    def __init__(self, restrictions: Iterable[Restriction] = ()) -> None:
        """Raises ValueError where two of them speak of one operation."""
        self._table: dict[str, Restriction | None] = dict.fromkeys(OPERATIONS)
        for restriction in restrictions:
            for operation in restriction.operations:
                if self._table[operation] is not None:
                    raise ValueError(f"{operation} is restricted twice")
                self._table[operation] = restriction

    def asks(self, operation: str) -> bool:
        """Whether the operation needs a header. Raises KeyError."""
        return self._table[operation] is not None

    def lacking(self, operation: str, header: Callable[[str], str | None]) -> str | None:
        """The header that is missing or wrong, if the operation needs one; ``None`` lets it pass. Raises KeyError."""
        restriction = self._table[operation]
        if restriction is None:
            return None
        given = digest_of(header(restriction.header) or "")
        return None if hmac.compare_digest(given, restriction.digest) else restriction.header
