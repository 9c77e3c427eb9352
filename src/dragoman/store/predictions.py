"""Predictions made ahead: an answer for each model, version and input, and how far every run has come.

A run's progress and its answers are written in one transaction: whenever a run is killed, what it has counted is
there, and what is there it has counted. Knows keys and bytes, not what they mean. Its calls block.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from dragoman.errors import StorageFailed
from dragoman.store.failures import in_our_words
from dragoman.store.opening import Content, Opened, open_content

#: Model, version, and the digest of an input.
Key = tuple[str, str, bytes]
#: The digest of an input, and the answer to it.
Answer = tuple[bytes, bytes]

#: Digests in one statement; databases have limits.
_PAGE: Final = 400

_ONE: Final = (
    "SELECT answer FROM dragoman_predictions WHERE model = ? AND version = ? AND input = ? AND made_at > ?"
)

_tables: Final = sa.MetaData()
_short: Final = sa.String(255)
predictions: Final = sa.Table(
    "dragoman_predictions",
    _tables,
    sa.Column("model", _short, primary_key=True),
    sa.Column("version", _short, primary_key=True),
    sa.Column("input", sa.LargeBinary(32), primary_key=True),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),  # microseconds since 1970
    sqlite_with_rowid=False,
)
runs: Final = sa.Table(
    "dragoman_prediction_runs",
    _tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("model", _short, nullable=False),
    sa.Column("version", _short, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("finished", sa.Boolean, nullable=False),
    sa.Column("began_at", sa.BigInteger, nullable=False),
)
_CONTENT: Final = Content(
    "stored predictions", "predictions.store", "dragoman_predictions_steps", (_tables.create_all,)
)


@dataclass(frozen=True, slots=True)
class Run:
    """How far a run is: so many rows of its input have their answers in the store."""

    id: str
    model: str
    version: str
    rows: int = 0
    finished: bool = False


class Predictions:
    """One store. Raises StorageFailed and NotReady."""

    def __init__(self, opened: Opened, ttl: float = 0.0, clock: Callable[[], float] = time.time) -> None:
        """What is older than ``ttl`` seconds is not there; 0 is never too old."""
        self._opened = opened
        self._ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._reader: sa.PoolProxiedConnection | None = None  # of a file, kept for look-ups

    def get_many(self, keys: Sequence[Key]) -> Sequence[bytes | None]:
        """The answers, in the order of the keys."""
        return self._get_from_file(keys) if self._opened.is_file else self._get_from_server(keys)

    def _get_from_file(self, keys: Sequence[Key]) -> Sequence[bytes | None]:
        """By SQLite's own calls: this is on the way of requests, and SQL by SQLAlchemy takes ten times as long."""
        oldest = int((self._clock() - self._ttl) * 1e6) if self._ttl else 0
        try:
            with self._lock:
                if self._reader is None:
                    self._reader = self._opened.engine.raw_connection()
                execute = self._reader.driver_connection.execute  # type: ignore[union-attr]
                found = [execute(_ONE, (*key, oldest)).fetchone() for key in keys]
        except sqlite3.Error as error:
            raise StorageFailed("the store of predictions can't be read") from error
        return [None if row is None else row[0] for row in found]

    def _get_from_server(self, keys: Sequence[Key]) -> Sequence[bytes | None]:
        groups: dict[tuple[str, str], list[bytes]] = {}
        for model, version, digest in keys:
            groups.setdefault((model, version), []).append(digest)
        found: dict[Key, bytes] = {}
        with in_our_words(), self._opened.engine.connect() as connection:
            for (model, version), digests in groups.items():
                for start in range(0, len(digests), _PAGE):
                    query = self._query(model, version, digests[start : start + _PAGE])
                    for digest, answer in connection.execute(query):
                        found[model, version, bytes(digest)] = bytes(answer)
        return [found.get(key) for key in keys]

    def _query(self, model: str, version: str, digests: Sequence[bytes]) -> sa.Select[Any]:
        table = predictions.c
        query = sa.select(table.input, table.answer).where(
            (table.model == model) & (table.version == version) & table.input.in_(digests)
        )
        if self._ttl:
            query = query.where(table.made_at > int((self._clock() - self._ttl) * 1e6))
        return query

    def begin(self, run: Run, *, again: bool = False) -> Run:
        """The run as it stands: where it was left, or from its beginning."""
        with in_our_words(), self._opened.writer.begin() as connection:
            if again:
                connection.execute(sa.delete(runs).where(runs.c.id == run.id))
            row = connection.execute(sa.select(runs).where(runs.c.id == run.id)).mappings().first()
            if row is not None:
                return Run(run.id, row["model"], row["version"], row["rows"], row["finished"])
            values = {"id": run.id, "model": run.model, "version": run.version, "rows": run.rows}
            connection.execute(
                sa.insert(runs).values(values | {"finished": False, "began_at": int(self._clock() * 1e6)})
            )
        return run

    def add(self, run: Run, answers: Iterable[Answer], rows: int) -> Run:
        """Keep the answers to the run's next ``rows`` rows, and that they are done; all of it or nothing."""
        values = self._rows(run.model, run.version, answers)
        after = Run(run.id, run.model, run.version, run.rows + rows)
        with in_our_words(), self._opened.writer.begin() as connection:
            same = (runs.c.id == run.id) & (runs.c.rows == run.rows)
            if connection.execute(sa.update(runs).where(same).values(rows=after.rows)).rowcount != 1:
                raise RunTaken(run.id)
            if values:
                connection.execute(_upsert(connection.dialect.name), values)
        return after

    def finish(self, run: Run) -> None:
        """All of its rows have their answers."""
        with in_our_words(), self._opened.writer.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run.id).values(finished=True))
        self._opened.settle()

    def put(self, model: str, version: str, answers: Iterable[Answer]) -> None:
        """Keep answers that belong to no run."""
        values = self._rows(model, version, answers)
        with in_our_words(), self._opened.writer.begin() as connection:
            connection.execute(_upsert(connection.dialect.name), values)

    def _rows(self, model: str, version: str, answers: Iterable[Answer]) -> list[dict[str, Any]]:
        """An answer a row; of two to one input the later counts."""
        now = int(self._clock() * 1e6)
        return [
            {"model": model, "version": version, "input": digest, "answer": answer, "made_at": now}
            for digest, answer in dict(answers).items()
        ]

    def forget(self, model: str, version: str = "") -> int:
        """Forget a model's predictions, of one version or of all; tells how many there were."""
        of_model = [table.c.model == model for table in (predictions, runs)]
        if version:
            of_model = [
                each & (table.c.version == version)
                for each, table in zip(of_model, (predictions, runs), strict=True)
            ]
        with in_our_words(), self._opened.writer.begin() as connection:
            connection.execute(sa.delete(runs).where(of_model[1]))
            return connection.execute(sa.delete(predictions).where(of_model[0])).rowcount

    def count(self, model: str, version: str) -> int:
        """How many predictions of the version there are, old ones too."""
        same = (predictions.c.model == model) & (predictions.c.version == version)
        with in_our_words(), self._opened.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(predictions).where(same)) or 0

    def close(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self._opened.engine.dispose()


class RunTaken(Exception):
    """Somebody else has gone on with the run meanwhile."""


def open_database(where: str | Path, ttl: float) -> Predictions:
    """The store in a file or behind a URL. Raises ConfigError."""
    return Predictions(open_content(where, _CONTENT), ttl)


def _upsert(dialect: str) -> sa.Insert:
    """A prediction that is there already is made anew. Databases have different words for it."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(predictions)
    return statement.on_conflict_do_update(
        index_elements=["model", "version", "input"],
        set_={"answer": statement.excluded.answer, "made_at": statement.excluded.made_at},
    )
