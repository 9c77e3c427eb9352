"""Access tokens: JSON Web Tokens, signed by the newest key, good for a quarter of an hour. Knows no store and no clock.

They say who somebody is and by which login, never what that user may: roles are looked up with each request, so that a
change counts at once. One algorithm is known, HS256, whatever a token's head says; keys are found by their id among
those in memory, and a head that asks for more (``crit``, ``jku``, ``x5u``, ``jwk``) is refused.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.store.accounts import SigningKey

ALGORITHM: Final = "HS256"
ISSUER: Final = "dragoman"
AUDIENCE: Final = "dragoman"
#: Characters of a token; ours have some 300.
LONGEST: Final = 2048
#: Bytes of a key's secret.
BYTES: Final = 64

_HEAD: Final = frozenset({"alg", "typ", "kid"})
_REQUIRED: Final = ["exp", "iat", "aud", "iss", "sub", "sid", "jti"]


class BadToken(Exception):
    """It is none of ours, or not any more."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: the user, the session, and until when; and the id of the key that has signed it."""

    user: str
    session: str
    expires: float
    key: str = ""


def make_signing_key(now: float) -> SigningKey:
    """A new one, of random bytes."""
    return SigningKey(id=secrets.token_hex(4), secret=secrets.token_bytes(BYTES), created=now)


def sign(key: SigningKey, claims: Claims, now: float) -> str:
    """The token that says so."""
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": claims.user,
        "sid": claims.session,
        "jti": secrets.token_hex(8),
        "iat": int(now),
        "exp": int(claims.expires),
    }
    text: str = _jwt().encode(said, key.secret, ALGORITHM, headers={"kid": key.id})
    return text


def verify(token: str, keys: Iterable[SigningKey], now: float) -> Claims:
    """What a token says, if one of the keys that count at ``now`` has signed it. Raises BadToken."""
    if len(token) > LONGEST:
        raise BadToken
    jwt = _jwt()
    try:
        head: dict[str, Any] = jwt.get_unverified_header(token)
        key = next((key for key in keys if key.id == head.get("kid")), None)
        if key is None or not head.keys() <= _HEAD or (key.expires and now >= key.expires):
            raise BadToken
        said: dict[str, Any] = jwt.decode(
            token,
            key.secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # By our own clock, below.
            options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except (jwt.PyJWTError, ValueError):
        raise BadToken from None
    claims = Claims(str(said["sub"]), str(said["sid"]), _seconds(said["exp"]), key.id)
    if now >= claims.expires or ("nbf" in said and now < _seconds(said["nbf"])):
        raise BadToken
    return claims


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise BadToken
    return float(value)


def _jwt() -> Any:
    try:
        import jwt
    except ModuleNotFoundError as error:
        hint = "pip install 'dragoman[auth]'"
        raise ConfigError("logins need PyJWT, which is not installed", hint=hint) from error
    return jwt
