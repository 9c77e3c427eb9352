"""Logins, users and keys as JSON and forms. Pure: bytes in, values out, and back; knows no socket and no store.

Every answer is an object; times are seconds since 1970 (UTC), lifetimes seconds. The answer to a login is that of
OAuth2 (RFC 6749, 5.1), and a form like its password and refresh grants is as good as JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from dragoman.errors import InvalidInput
from dragoman.store.accounts import Entry, Key, User
from dragoman.tensors import Buffer, dump_json, parse_json
from dragoman.users.caller import KnownCaller
from dragoman.users.keys import shown
from dragoman.users.login import Tokens
from dragoman.users.registrar import UserChange

T = TypeVar("T")

Document = Mapping[str, Any]

_DEPTH: Final = 5
_FORM: Final = "application/x-www-form-urlencoded"


class NewUser(NamedTuple):
    """A user to be."""

    name: str
    password: str
    roles: list[str]
    models: list[str]


def decode_login(body: Buffer, content_type: str) -> tuple[str, str]:
    """Name and password. Raises InvalidInput."""
    said = _said(body, content_type, {"username", "password"}, "password")
    return _get(said, "username", str), _get(said, "password", str)


def decode_refresh(body: Buffer, content_type: str) -> str:
    """A refresh token. Raises InvalidInput."""
    return _get(_said(body, content_type, {"refresh_token"}, "refresh_token"), "refresh_token", str)


def decode_user(body: Buffer) -> NewUser:
    """``{"name", "password", "roles": […]}`` and, optional, ``"models": […]``. Raises InvalidInput."""
    said = _object(body, {"name", "password", "roles", "models"})
    return NewUser(
        _get(said, "name", str),
        _get(said, "password", str),
        _texts(said, "roles"),
        _texts(said, "models", ["*"]),
    )


def decode_change(body: Buffer) -> UserChange:
    """Some of ``password``, ``roles``, ``models``, ``disabled``. Raises InvalidInput."""
    said = _object(body, {"password", "roles", "models", "disabled"})
    if not said:
        raise InvalidInput("nothing is to be changed: name password, roles, models or disabled")
    return UserChange(
        password=_get(said, "password", str) if "password" in said else None,
        roles=_texts(said, "roles") if "roles" in said else None,
        models=_texts(said, "models") if "models" in said else None,
        disabled=_get(said, "disabled", bool) if "disabled" in said else None,
    )


def decode_key(body: Buffer, now: float) -> Key:
    """``{"roles": […]}`` and, optional, ``name``, ``models``, ``lifetime`` (seconds), ``rate``, ``burst``, ``daily``,
    ``monthly``. Raises InvalidInput."""
    said = _object(body, {"roles", "name", "models", "lifetime", "rate", "burst", "daily", "monthly"})
    lifetime = _number(said, "lifetime")
    return Key(
        name=_get(said, "name", str, ""),
        roles=frozenset(_texts(said, "roles")),
        models=tuple(_texts(said, "models", ["*"])),
        expires=now + lifetime if lifetime else 0.0,
        rate=_number(said, "rate"),
        burst=_get(said, "burst", int, 0),
        daily=_get(said, "daily", int, 0),
        monthly=_get(said, "monthly", int, 0),
    )


def decode_page(query: str) -> tuple[int, int | None]:
    """``limit`` (100, at most 1000) and ``before``, a line's number. Raises InvalidInput."""
    said = dict(parse_qsl(query))
    if unknown := sorted(said.keys() - {"limit", "before"}):
        raise InvalidInput(f"unknown parameter {unknown[0][:50]!r}; known are before, limit")
    numbers = {name: _count(name, value) for name, value in said.items()}
    return min(1000, numbers.get("limit", 100)), numbers.get("before")


def encode(document: Document) -> bytes:
    return dump_json(document)


def encode_tokens(tokens: Tokens) -> Document:
    return {
        "access_token": tokens.access,
        "token_type": "Bearer",
        "expires_in": int(tokens.access_lifetime),
        "refresh_token": tokens.refresh,
        "refresh_expires_in": int(tokens.refresh_lifetime),
    }


def encode_user(user: User) -> Document:
    return {
        "name": user.name,
        "roles": sorted(user.roles),
        "models": user.models,
        "disabled": user.disabled,
        "created": user.created,
    }


def encode_key(key: Key) -> Document:
    """Without the key itself, which nobody has any more."""
    return {
        "id": key.id,
        "key": f"{shown(key)}_...",
        "name": key.name,
        "roles": sorted(key.roles),
        "models": key.models,
        "rate": key.rate,
        "burst": key.burst,
        "daily": key.daily,
        "monthly": key.monthly,
        "created": key.created,
        "expires": key.expires or None,
        "used": key.used or None,
        "revoked": key.revoked or None,
    }


def encode_entries(entries: Sequence[Entry]) -> Document:
    names = ("number", "at", "who", "what", "model", "origin", "outcome")
    return {"audit": [{name: getattr(entry, name) for name in names} for entry in entries]}


def encode_caller(caller: KnownCaller) -> Document:
    expires = caller.expires if caller.expires != float("inf") else None
    return {
        "name": caller.name,
        "roles": sorted(caller.roles),
        "models": caller.models,
        "expires": expires,
        "limits": caller.left(),
    }


def _said(body: Buffer, content_type: str, keys: set[str], grant: str) -> Document:
    """What a form or a JSON object says. Of a form other fields are ignored, as OAuth2 wants it."""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return _object(body, keys)
    try:
        pairs = parse_qsl(bytes(body).decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise InvalidInput("the form can't be read") from None
    said = dict(pairs)
    if len(said) < len(pairs):
        raise InvalidInput("a field of the form comes twice")
    if said.get("grant_type", grant) != grant:
        raise InvalidInput(f"grant_type must be {grant!r} here")
    return said


def _object(body: Buffer, keys: set[str]) -> dict[str, Any]:
    said = parse_json(body, _DEPTH)
    if not isinstance(said, dict):
        raise InvalidInput(f"the body is a JSON object with {', '.join(sorted(keys))}")
    for key in said:
        if key not in keys:
            raise InvalidInput(f"unknown key {key[:50]!r}; known are {', '.join(sorted(keys))}")
    return said


def _get(said: Document, key: str, kind: type[T], default: T | None = None) -> T:
    """Never tells what came: it may be a secret in the wrong place."""
    if key not in said:
        if default is None:
            raise InvalidInput(f"{key!r} is missing")
        return default
    value = said[key]
    if type(value) is not kind:
        raise InvalidInput(f"{key!r} must be {_WORDS[kind]}")
    return value


def _number(said: Document, key: str) -> float:
    value = said.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InvalidInput(f"{key!r} must be a number, at least 0")
    return float(value)


def _texts(said: Document, key: str, default: list[str] | None = None) -> list[str]:
    values = _get(said, key, list, default)
    if not all(isinstance(value, str) for value in values):
        raise InvalidInput(f"{key!r} must be a list of texts")
    return values


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidInput(f"{name} must be a whole number, at least 0")
    return int(value)


_WORDS: Final[Mapping[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    list: "a list of texts",
}
