"""What models were asked and have answered, in a database: read newest first, forgotten by age and by number.

Knows texts and times, not what they mean. Its calls block.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from dragoman.errors import NotFound
from dragoman.store.failures import in_our_words
from dragoman.store.opening import Content, Opened, open_content
from dragoman.store.prediction import Accuracy, Prediction, Query

_tables: Final = sa.MetaData()
_short: Final = sa.String(255)
observed: Final = sa.Table(
    "dragoman_observed",
    _tables,
    # Counts up, on SQLite too: what is newest is what was added last, whatever the clock did.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", _short, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),  # microseconds since 1970
    sa.Column("model", _short, nullable=False),
    sa.Column("version", _short, nullable=False),
    sa.Column("dialect", _short, nullable=False),
    sa.Column("code", _short, nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),  # from arrival to answer
    sa.Column("request", sa.Text, nullable=False),  # JSON
    sa.Column("response", sa.Text, nullable=False),  # JSON
    sa.Column("label", sa.Text),  # JSON
    sa.Column("right", sa.Integer),  # predictions that the label confirms
    sa.Column("judged", sa.Integer),  # predictions that the label speaks of
    sa.Column("labelled_at", sa.BigInteger),
    sa.Index("dragoman_observed_by_id", "id"),
    sa.Index("dragoman_observed_by_age", "at"),
    sa.Index("dragoman_observed_by_label", "labelled_at"),
)
_CONTENT: Final = Content(
    "kept predictions", "monitoring.store", "dragoman_observed_steps", (_tables.create_all,)
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is older than so many seconds is forgotten, and the oldest of more than so many; 0 is no limit."""

    seconds: float = 0.0
    rows: int = 0


class Observed:
    """All that is kept in one database. Raises StorageFailed and NotReady besides what each call says."""

    def __init__(self, opened: Opened, clock: Callable[[], float] = time.time) -> None:
        self._opened = opened
        self._clock = clock

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Keep them, all or none."""
        rows = [
            {
                **{name: getattr(each, name)[:255] for name in ("id", "model", "version", "dialect", "code")},
                "at": round(each.time * 1e6),
                "micros": round(each.seconds * 1e6),
                "request": each.request,
                "response": each.response,
            }
            for each in predictions
        ]
        with in_our_words(), self._opened.writer.begin() as connection:
            connection.execute(sa.insert(observed), rows)

    def newest(self, query: Query) -> Sequence[Prediction]:
        """Those that a query wants, the last one added first."""
        table = observed.c
        wanted = sa.select(observed).order_by(table.number.desc()).limit(query.limit)
        for column, value in ((table.model, query.model), (table.version, query.version)):
            if value:
                wanted = wanted.where(column == value)
        if query.before:
            wanted = wanted.where(table.number < query.before)
        if query.since:
            wanted = wanted.where(table.at >= round(query.since * 1e6))
        if query.text:
            places = (table.model, table.id, table.request, table.response)
            wanted = wanted.where(sa.or_(*(each.icontains(query.text, autoescape=True) for each in places)))
        with in_our_words(), self._opened.engine.connect() as connection:
            return [_prediction(row) for row in connection.execute(wanted).mappings()]

    def find(self, id: str) -> Prediction:  # noqa: A002 - it is called that
        """The newest of that id. Raises NotFound."""
        wanted = sa.select(observed).where(observed.c.id == id).order_by(observed.c.number.desc()).limit(1)
        with in_our_words(), self._opened.engine.connect() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            raise NotFound(
                f"no prediction {id!r:.200} is kept: it was not among those that are, or is too old"
            )
        return _prediction(row)

    def label(self, number: int, label: str, right: int, judged: int) -> None:
        """What the truth was, and how many of its predictions were right; a later word takes the place of the first."""
        values = {"label": label, "right": right, "judged": judged, "labelled_at": self._now()}
        with in_our_words(), self._opened.writer.begin() as connection:
            connection.execute(sa.update(observed).where(observed.c.number == number).values(values))

    def accuracy(self, seconds: float) -> Sequence[Accuracy]:
        """How right each version was, by the labels of the last so many seconds."""
        table = observed.c
        sums = (sa.func.count(), sa.func.sum(table.right), sa.func.sum(table.judged))
        wanted = (
            sa.select(table.model, table.version, *sums)
            .where(table.labelled_at >= self._now() - round(seconds * 1e6))
            .group_by(table.model, table.version)
            .order_by(table.model, table.version)
        )
        with in_our_words(), self._opened.engine.connect() as connection:
            return [
                Accuracy(model, version, int(labels), int(right or 0), int(judged or 0))
                for model, version, labels, right, judged in connection.execute(wanted)
            ]

    def forget(self, limits: Limits) -> int:
        """Forget what is too old or too much; tells how many there were."""
        table, gone = observed.c, 0
        with in_our_words(), self._opened.writer.begin() as connection:
            if limits.seconds:
                old = table.at < self._now() - round(limits.seconds * 1e6)
                gone += connection.execute(sa.delete(observed).where(old)).rowcount
            if limits.rows:
                kept = sa.select(table.number).order_by(table.number.desc()).offset(limits.rows).limit(1)
                last = connection.scalar(kept)
                if last is not None:
                    gone += connection.execute(sa.delete(observed).where(table.number <= last)).rowcount
        return gone

    def close(self) -> None:
        self._opened.settle()
        self._opened.engine.dispose()

    def _now(self) -> int:
        return round(self._clock() * 1e6)


def open_database(where: str | Path) -> Observed:
    """What is kept in a file or behind a URL. Raises ConfigError."""
    return Observed(open_content(where, _CONTENT))


def _prediction(row: Any) -> Prediction:
    plain = ("id", "model", "version", "dialect", "code", "request", "response", "number", "label")
    return Prediction(
        **{name: row[name] for name in plain}, time=row["at"] / 1e6, seconds=row["micros"] / 1e6
    )
