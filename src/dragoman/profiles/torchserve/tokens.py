"""TorchServe's keys: three of them, in ``key_file.json``, which only the server's user can read.

Knows no route. A key is never logged and never shown; who wants to know one reads the file.
"""

import json
import os
import secrets
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.files import write_private
from dragoman.transport.auth import Key, authorize, make_key

KEY_FILE: Final = "key_file.json"
#: Random bytes of a key. TorchServe's have 6.
KEY_BYTES: Final = 32


class Scope(Enum):
    """What a key is for, as the key file calls it."""

    MANAGEMENT = "management"
    INFERENCE = "inference"
    API = "API"  #: renews the other two; never expires


class Tokens:
    """The keys of one server: ``write`` them before it listens, ``remove`` them when it is gone.

    ``clock`` tells seconds since 1970.
    """

    def __init__(self, file: Path, minutes: float, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._seconds = minutes * 60
        self._clock = clock
        self._secrets: dict[Scope, str] = {}
        self._keys: dict[Scope, Key] = {}

    def write(self) -> None:
        """Make all keys and the file, in the place of one a former server left. Raises ConfigError."""
        _check_place(self._file)
        try:
            self._replace(list(Scope))
        except OSError as error:
            raise ConfigError(f"can't write {self._file}: {error.strerror}") from error

    def renew(self, scope: Scope) -> None:
        """Make one key anew; from now on the old one opens nothing. Raises OSError, and then the old one stays."""
        self._replace([scope])

    def allows(self, scope: Scope, header: str | None) -> bool:
        """Whether this ``Authorization`` header opens this door now."""
        key = self._keys.get(scope)
        return authorize(header, () if key is None else (key,), self._clock())

    def remove(self) -> None:
        """Take the file away, unless another server has put its own there."""
        try:
            ours = json.loads(self._file.read_bytes()) == self._document(self._secrets, self._keys)
        except (OSError, ValueError):
            return
        if ours:
            self._file.unlink(missing_ok=True)

    def _replace(self, scopes: list[Scope]) -> None:
        texts, keys = dict(self._secrets), dict(self._keys)
        for scope in scopes:
            expires = None if scope is Scope.API else self._clock() + self._seconds
            texts[scope] = secrets.token_urlsafe(KEY_BYTES)
            keys[scope] = make_key(texts[scope], expires)
        write_private(self._file, json.dumps(self._document(texts, keys), indent=2).encode())
        self._secrets, self._keys = texts, keys

    @staticmethod
    def _document(texts: dict[Scope, str], keys: dict[Scope, Key]) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for scope, text in texts.items():
            document[scope.value] = {"key": text}
            expires = keys[scope].expires
            if expires is not None:
                document[scope.value]["expiration time"] = _instant(expires)
        return document


def _check_place(file: Path) -> None:
    """Raise ConfigError where something lies that isn't a former server's key file."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"can't write {file}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{file} is no ordinary file", hint="keys are not written through links: remove it")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{file} belongs to another user", hint="remove it, or start the server elsewhere")


def _instant(seconds: float) -> str:
    """As Java prints it: ``2026-11-21T22:41:11.821003Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
