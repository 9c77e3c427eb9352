"""Access tokens: what is accepted is what this server has signed, in the one way there is."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest

from dragoman.store.accounts import SigningKey
from dragoman.users.tokens import BadToken, Claims, make_signing_key, sign, verify

NOW = 1_795_000_000.0
KEY = make_signing_key(NOW)
OTHER = make_signing_key(NOW)
CLAIMS = Claims("ann", "s1", NOW + 900, KEY.id)
SAID = {
    "iss": "dragoman",
    "aud": "dragoman",
    "sub": "ann",
    "sid": "s1",
    "jti": "x",
    "iat": int(NOW),
    "exp": int(NOW) + 900,
}


def encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def forged(head: dict[str, Any], said: dict[str, Any], secret: bytes = KEY.secret) -> str:
    """Signed with HMAC-SHA256, whatever the head says."""
    text = f"{encoded(head)}.{encoded(said)}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def accepts(token: str, *keys: SigningKey, now: float = NOW) -> bool:
    try:
        verify(token, keys or (KEY,), now)
    except BadToken:
        return False
    return True


HEAD = {"alg": "HS256", "typ": "JWT", "kid": KEY.id}


def test_what_is_signed_says_who_it_is_until_it_expires() -> None:
    token = sign(KEY, CLAIMS, NOW)
    assert verify(token, [OTHER, KEY], NOW) == CLAIMS
    assert verify(token, [KEY], NOW + 899) == CLAIMS
    assert not accepts(token, now=NOW + 900)
    assert accepts(forged(HEAD, SAID))  # the forger's tool works: only the details below are wrong


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "none", "typ": "JWT", "kid": KEY.id},
        {"alg": "None", "kid": KEY.id},
        {"alg": "HS384", "kid": KEY.id},
        {"alg": "RS256", "kid": KEY.id},
        {"alg": "EdDSA", "kid": KEY.id},
        {"alg": "HS256"},
        {"alg": "HS256", "kid": OTHER.id},
        {"alg": "HS256", "kid": ""},
        {"alg": "HS256", "kid": "../../dev/null"},
        {"alg": "HS256", "kid": [KEY.id]},
        {"alg": "HS256", "kid": 7},
        HEAD | {"crit": ["exp"]},
        HEAD | {"crit": ["b64"], "b64": False},
        HEAD | {"jku": "http://127.0.0.1:1/keys"},
        HEAD | {"x5u": "http://127.0.0.1:1/keys"},
        HEAD | {"jwk": {"kty": "oct", "k": "AA"}},
    ],
    ids=str,
)
def test_no_head_chooses_how_it_is_verified(head: dict[str, Any]) -> None:
    assert not accepts(forged(head, SAID))


def test_a_token_without_a_signature_is_none() -> None:
    for head in ({"alg": "none", "kid": KEY.id}, HEAD):
        assert not accepts(f"{encoded(head)}.{encoded(SAID)}.")


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in SAID),
        {"exp": int(NOW) - 1},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 1e400},
        {"nbf": int(NOW) + 60},
        {"nbf": "yesterday"},
        {"aud": "another"},
        {"iss": "another"},
        {"sub": 7},
    ],
    ids=str,
)
def test_a_token_says_everything_and_nothing_wrong(change: dict[str, Any]) -> None:
    said = {name: value for name, value in (SAID | change).items() if value is not None}
    assert not accepts(forged(HEAD, said))


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "é.é.é", "\0.\0.\0", "x" * 1_000_000, f"{'x' * 1_000_000}.{'y'}.{'z'}",
     sign(KEY, CLAIMS, NOW) + "x", sign(KEY, CLAIMS, NOW)[:-2], sign(OTHER, CLAIMS, NOW),
     f"{encoded(HEAD)}.{encoded(SAID)}.{'A' * 43}", f"{base64.b64encode(b'[]').decode()}.e30.e30"],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_token_of_ours_is_refused_and_nothing_else(token: str) -> None:
    assert not accepts(token)


def test_a_rotated_key_is_good_until_it_expires_and_not_a_second_longer() -> None:
    token = sign(KEY, CLAIMS, NOW)
    old = SigningKey(id=KEY.id, secret=KEY.secret, created=NOW, expires=NOW + 60)
    assert accepts(token, old, OTHER, now=NOW + 59)
    assert not accepts(token, old, OTHER, now=NOW + 60)
    assert not accepts(token, OTHER)


def test_an_independent_library_reads_it() -> None:
    token = sign(KEY, CLAIMS, NOW)
    said = jwt.decode(
        token, KEY.secret, algorithms=["HS256"], audience="dragoman", options={"verify_exp": False}
    )
    assert said["sub"] == "ann"
    assert "roles" not in said


def test_a_key_is_not_shown() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert repr(KEY.secret) not in repr(KEY)
