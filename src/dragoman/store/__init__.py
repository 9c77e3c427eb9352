"""The desired state, kept: which models, versions, shares and sizes the operators want, who changed what, and the way
back.

SQLAlchemy is imported when a state is opened, not before: a server without management has no use for it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.store.history import Change
from dragoman.store.installed import needs_sqlalchemy
from dragoman.store.state import Model, Version

if TYPE_CHECKING:
    from dragoman.store.database import Store
    from dragoman.store.jobs import JobStore
    from dragoman.store.observed import Observed
    from dragoman.store.predictions import Predictions

__all__ = ["Change", "Model", "Version", "open_jobs", "open_observed", "open_predictions", "open_store"]


def open_store(where: str | Path) -> "Store":
    """The state in a SQLite file, made where there is none, or in the database of a URL of SQLAlchemy's.

    Blocks. Raises ConfigError: StateUnreadable for a state that is damaged, newer, or something else.
    """
    with needs_sqlalchemy("keeping state"):
        from dragoman.store.database import open_database
    return open_database(where)


def open_predictions(where: str | Path, ttl: float = 0.0) -> "Predictions":
    """Predictions made ahead, those that are not older than ``ttl`` seconds; 0 is never too old.

    Blocks. Raises ConfigError.
    """
    with needs_sqlalchemy("keeping state"):
        from dragoman.store.predictions import open_database
    return open_database(where, ttl)


def open_jobs(where: str | Path) -> "JobStore":
    """Jobs and their results. Blocks. Raises ConfigError."""
    with needs_sqlalchemy("keeping state"):
        from dragoman.store.jobs import open_database
    return open_database(where)


def open_observed(where: str | Path) -> "Observed":
    """What models were asked and have answered. Blocks. Raises ConfigError."""
    with needs_sqlalchemy("keeping predictions"):
        from dragoman.store.observed import open_database
    return open_database(where)
