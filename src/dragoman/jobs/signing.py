"""Signatures of webhooks, as the Standard Webhooks specification has them (version 1: HMAC-SHA256). Pure."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from dragoman.errors import ConfigError

_PREFIX: Final = "whsec_"
#: Bytes of a secret, as the specification wants them.
_LEAST, _MOST = 24, 64


def read_secret(text: str) -> bytes:
    """The key of ``whsec_`` and base64. Raises ConfigError, which tells nothing of it."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ConfigError(
            f"jobs.webhook_secret must be {_PREFIX} and the base64 of {_LEAST} to {_MOST} bytes",
            hint='make one: python -c "import base64, os;'
            " print('whsec_' + base64.b64encode(os.urandom(32)).decode())\"",
        )
    return key


def sign(key: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:  # noqa: A002
    """The three headers. ``id`` stays the same when the same is told again; ``timestamp`` is now, in seconds."""
    signed = f"{id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
