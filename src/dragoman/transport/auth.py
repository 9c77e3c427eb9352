"""Who may: a header and the keys that open a door in, yes or no out. Pure: no clock, no file, no route.

Of a key only its digest is kept here, and digests are compared in constant time.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_BEARER: Final = re.compile(r"Bearer\s+(\S+)")


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
