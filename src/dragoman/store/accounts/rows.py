"""Users, keys and lines of the audit as rows of the tables, and back. Knows no transaction."""

import json
from collections.abc import Mapping
from typing import Any

from dragoman.store.accounts.values import Entry, Key, SigningKey, User

Row = dict[str, Any]


def user_row(user: User) -> Row:
    return {
        "name": user.name,
        "password": user.password,
        "roles": _list(user.roles),
        "models": json.dumps(list(user.models)),
        "disabled": user.disabled,
        "created": micros(user.created),
    }


def read_user(row: Mapping[str, Any]) -> User:
    return User(
        name=row["name"],
        password=row["password"],
        roles=frozenset(json.loads(row["roles"])),
        models=tuple(json.loads(row["models"])),
        disabled=row["disabled"],
        created=row["created"] / 1e6,
    )


def key_row(key: Key) -> Row:
    row: Row = {name: getattr(key, name) for name in ("id", "name", "rate", "burst", "daily", "monthly")}
    row |= {name: micros(getattr(key, name)) for name in ("created", "expires", "used", "revoked")}
    return row | {
        "digest": key.digest.hex(),
        "roles": _list(key.roles),
        "models": json.dumps(list(key.models)),
    }


def read_key(row: Mapping[str, Any]) -> Key:
    plain = {name: row[name] for name in ("id", "name", "rate", "burst", "daily", "monthly")}
    times = {name: row[name] / 1e6 for name in ("created", "expires", "used", "revoked")}
    return Key(
        digest=bytes.fromhex(row["digest"]),
        roles=frozenset(json.loads(row["roles"])),
        models=tuple(json.loads(row["models"])),
        **plain,
        **times,
    )


def signing_row(key: SigningKey) -> Row:
    times = {"created": micros(key.created), "expires": micros(key.expires)}
    return {"id": key.id, "secret": key.secret.hex(), **times}


def read_signing(row: Mapping[str, Any]) -> SigningKey:
    return SigningKey(
        id=row["id"],
        secret=bytes.fromhex(row["secret"]),
        created=row["created"] / 1e6,
        expires=row["expires"] / 1e6,
    )


def entry_row(entry: Entry) -> Row:
    texts = {
        name: _text(getattr(entry, name), most)
        for name, most in (("who", 300), ("what", 300), ("model", 255), ("origin", 100), ("outcome", 300))
    }
    return {"at": micros(entry.at), **texts}


def read_entry(row: Mapping[str, Any]) -> Entry:
    texts = {name: row[name] for name in ("who", "what", "model", "origin", "outcome")}
    return Entry(number=row["number"], at=row["at"] / 1e6, **texts)


def micros(seconds: float) -> int:
    """Microseconds, as the tables keep times."""
    return round(seconds * 1_000_000)


def _list(words: frozenset[str]) -> str:
    return json.dumps(sorted(words))


def _text(text: str, most: int) -> str:
    """The text as every database can keep it."""
    return text[:most].encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
