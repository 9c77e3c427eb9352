"""Who may: headers, keys and what is asked for in, yes or no out. Pure: no clock, no file, no path.

Of a key only its digest is kept here, and digests are compared in constant time. What a request asks for is the
operation that its route declares: how the client has written the route plays no part.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

#: Everything that can be asked of a server; a route declares one of these, or is no route. The first nine are the
#: groups that Triton's restrictions know; "management" is TorchServe's, "pages" is what people look at.
OPERATIONS: Final = (
    "health", "metadata", "inference", "shared-memory", "model-config", "model-repository", "statistics", "trace",
    "logging", "management", "pages",
)  # fmt: skip

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
    return Key(_digest(secret), expires)


def authorize(header: str | None, keys: Iterable[Key], now: float) -> bool:
    """Whether an ``Authorization`` header brings one of these keys, not expired at ``now``.

    Only ``Bearer``, written like this, then the key. How long the answer takes tells nothing about any key.
    """
    match = _BEARER.fullmatch(header or "")
    digest = _digest(match[1] if match else "")
    allowed = False
    for key in keys:
        same = hmac.compare_digest(digest, key.digest)
        allowed |= same and (key.expires is None or now < key.expires)
    return allowed and match is not None


def _digest(secret: str) -> bytes:
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
    operations = frozenset(name.strip() for name in match["operations"].split(","))
    if unknown := sorted(operations - frozenset(OPERATIONS)):
        raise ValueError(f"unknown operation {unknown[0]!r}, known: {', '.join(OPERATIONS)}")
    return Restriction(operations, prefix + match["header"].lower(), _digest(match["value"]))


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
        given = _digest(header(restriction.header) or "")
        return None if hmac.compare_digest(given, restriction.digest) else restriction.header
