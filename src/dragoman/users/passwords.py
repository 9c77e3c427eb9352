"""Passwords: Argon2id with the library's present parameters. Blocks for a tenth of a second, on purpose.

Who asks for a user that isn't there waits as long as for one that is.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

from dragoman.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: Characters of a password; more than the most would only be work for the server.
SHORTEST: Final = 12
LONGEST: Final = 1024


def hash_password(password: str) -> str:
    """The hash to keep. Raises InvalidInput for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(f"a password has {SHORTEST} to {LONGEST} characters, got {len(password)}")
    return _hasher().hash(password.encode("utf-8", "surrogatepass"))


def verify_password(kept: str | None, password: str) -> bool:
    """Whether it is the password of this hash; for ``None``, nobody's, no after the same time."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    given = password[: LONGEST + 1].encode("utf-8", "surrogatepass")
    try:
        right = _hasher().verify(kept or _nobody(), given)
    except (Argon2Error, InvalidHashError):
        return False
    return right and kept is not None


def is_dated(kept: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher().check_needs_rehash(kept)


@cache
def _hasher() -> "PasswordHasher":
    try:
        from argon2 import PasswordHasher
    except ModuleNotFoundError as error:
        hint = "pip install 'dragoman[auth]'"
        raise ConfigError(
            "users with passwords need argon2-cffi, which is not installed", hint=hint
        ) from error
    return PasswordHasher()


@cache
def _nobody() -> str:
    """A hash of what nobody can type, made like all others."""
    return _hasher().hash(b"\0nobody")
