"""What is said where a state is wanted and SQLAlchemy isn't installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from dragoman.errors import ConfigError


@contextmanager
def needs_sqlalchemy(what: str) -> Iterator[None]:
    """Raises ConfigError, which names the extra, for a missing SQLAlchemy. ``what`` is what needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "sqlalchemy":
            raise
        hint = "pip install 'dragoman[store]'"
        raise ConfigError(f"{what} needs SQLAlchemy, which is not installed", hint=hint) from error
