"""Keys for programs: how they are made and what of them may be shown. Knows no store.

``dk_``, eight hexadecimal digits that tell which key it is, and 32 random bytes: scanners for leaked secrets find it by
its form, and lists show it by the part that is no secret.
"""

import secrets
from dataclasses import replace
from typing import Final

from dragoman.store.accounts import Key
from dragoman.transport.auth import digest_of

PREFIX: Final = "dk_"
#: Random bytes of the secret part.
BYTES: Final = 32


def make_key(wanted: Key) -> tuple[Key, str]:
    """A new key with the properties of ``wanted``, and its text, which is shown once and kept nowhere."""
    id_ = secrets.token_hex(4)
    text = f"{PREFIX}{id_}_{secrets.token_urlsafe(BYTES)}"
    return replace(wanted, id=id_, digest=digest_of(text)), text


def shown(key: Key) -> str:
    """The part that is no secret; of a key that stands in the settings, where."""
    return f"{PREFIX}{key.id}" if key.id else key.name
