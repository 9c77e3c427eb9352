"""Jobs in a database: accepted once, run by one process at a time, ended once.

::

    queued ──claim──► running ──finish──► done | failed          every arrow is one transaction
       ▲ └──cancel──► cancelled ◄──cancel──┘
       └──put back, or its process says nothing for longer than its lease──┘

Who runs a job holds it by a lease. What an owner without one says of it is not heard, so that a job that ran twice
after all has one result. Knows bytes and times, not what a job means. Its calls block.
"""

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from dragoman.errors import Conflict, NotFound, Overloaded
from dragoman.store.failures import in_our_words
from dragoman.store.job import CANCELLED, DONE, ENDED, FAILED, QUEUED, RUNNING, UNTOLD, Job, Result, Work
from dragoman.store.opening import Content, Opened, open_content

_tables: Final = sa.MetaData()
_short: Final = sa.String(255)
_number: Final = sa.BigInteger
jobs: Final = sa.Table(
    "dragoman_jobs",
    _tables,
    sa.Column("id", _short, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("order", sa.Text, nullable=False),  # what is to be done, as JSON
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", _number, nullable=False),  # all times are microseconds since 1970
    sa.Column("not_before", _number, nullable=False),
    sa.Column("ended_at", _number),
    sa.Column("owner", _short, nullable=False),
    sa.Column("lease_until", _number, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("rows_done", _number, nullable=False),
    sa.Column("rows_total", _number, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("result", sa.LargeBinary),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("webhook", sa.Text, nullable=False),
    sa.Column("webhook_state", sa.String(16), nullable=False),
    sa.Column("webhook_attempts", sa.Integer, nullable=False),
    sa.Column("webhook_at", _number, nullable=False),
    sa.Index("dragoman_jobs_by_state", "state", "not_before"),
    sa.Index("dragoman_jobs_by_age", "created_at"),
)
parts: Final = sa.Table(
    "dragoman_job_parts",
    _tables,
    sa.Column("job", _short, primary_key=True),
    sa.Column("first_row", _number, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_CONTENT: Final = Content("jobs", "jobs.store", "dragoman_jobs_steps", (_tables.create_all,))
#: What is told of a job: everything but what it was sent and what came of it.
_TOLD: Final = [
    column for column in jobs.c if column.name not in ("body", "result", "headers", "content_type")
]


class JobStore:
    """All jobs of one database. Raises StorageFailed and NotReady besides what each call says."""

    def __init__(self, opened: Opened, clock: Callable[[], float] = time.time) -> None:
        self._opened = opened
        self._clock = clock

    def add(self, job: Job, body: bytes, most: int) -> tuple[Job, bool]:
        """Accept a job; or the one of that id as it stands, if it is the same. Tells whether it is new.

        Raises Conflict for another one of that id, Overloaded where ``most`` wait.
        """
        with in_our_words(), self._opened.writer.begin() as connection:
            known = self._find(connection, job.id)
            if known is not None:
                if known.digest != job.digest:
                    raise Conflict(f"there is another job {job.id!r}: give this one an id of its own")
                return known, False
            waiting = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.state == QUEUED)
            if (connection.scalar(waiting) or 0) >= most:
                raise Overloaded(f"{most} jobs wait already", retry_after=10)
            now = self._now()
            row: dict[str, Any] = {
                **{name: getattr(job, name) for name in ("id", "digest", "order", "webhook")},
                **dict.fromkeys(("lease_until", "attempts", "rows_done", "rows_total", "status"), 0),
                **dict.fromkeys(("webhook_attempts", "webhook_at"), 0),
                **dict.fromkeys(("owner", "content_type", "headers", "error", "webhook_state"), ""),
                "state": QUEUED,
                "body": body,
                "created_at": now,
                "not_before": now,
            }
            connection.execute(sa.insert(jobs).values(row))
            added = self._find(connection, job.id)
            assert added is not None
            return added, True

    def get(self, id: str) -> Job:  # noqa: A002 - it is called that
        """Raises NotFound."""
        with in_our_words(), self._opened.engine.connect() as connection:
            return self._known(connection, id)

    def newest(self, state: str = "", limit: int = 100, before: float = 0.0) -> list[Job]:
        """The newest first: those of a state, or all; those that came before a moment."""
        query = sa.select(*_TOLD).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
        if state:
            query = query.where(jobs.c.state == state)
        if before:
            query = query.where(jobs.c.created_at < round(before * 1e6))
        with in_our_words(), self._opened.engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def result(self, id: str) -> tuple[Job, Result]:  # noqa: A002
        """The job, and what came of it as far as it has ended. Raises NotFound."""
        with in_our_words(), self._opened.engine.connect() as connection:
            job = self._known(connection, id)
            query = sa.select(jobs.c.content_type, jobs.c.headers, jobs.c.result).where(jobs.c.id == id)
            content_type, headers, body = connection.execute(query).one()
            pieces = [bytes(body)] if body is not None else []
            if job.state == DONE and job.rows_total:
                ordered = sa.select(parts.c.body).where(parts.c.job == id).order_by(parts.c.first_row)
                pieces = [bytes(piece) for piece in connection.scalars(ordered)]
            result = Result(status=job.status, content_type=content_type, headers=headers, pieces=pieces)
            return job, result

    def claim(self, owner: str, lease: float, most_attempts: int) -> Work | None:
        """The job that waits longest, or whose owner says nothing any more: from now on it is this owner's.

        One that was begun too often has failed.
        """
        with in_our_words(), self._opened.writer.begin() as connection:
            while True:
                now = self._now()
                waits = (jobs.c.state == QUEUED) & (jobs.c.not_before <= now)
                left = (jobs.c.state == RUNNING) & (jobs.c.lease_until < now)
                query = (
                    sa.select(*_TOLD, jobs.c.body).where(waits | left).order_by(jobs.c.not_before).limit(1)
                )
                row = connection.execute(query.with_for_update(skip_locked=True)).mappings().first()
                if row is None:
                    return None
                if row["attempts"] < most_attempts:
                    break
                error = row["error"] or f"it was begun {row['attempts']} times and has never ended"
                self._end(connection, row["id"], FAILED, {"error": error, "status": row["status"] or 500})
            values = {
                "state": RUNNING,
                "owner": owner,
                "lease_until": now + round(lease * 1e6),
                "attempts": row["attempts"] + 1,
            }
            connection.execute(sa.update(jobs).where(jobs.c.id == row["id"]).values(values))
            job = _job({**row, **values})
            return Work(job, bytes(row["body"]), owner)

    def renew(self, owner: str, ids: Collection[str], lease: float) -> set[str]:
        """Hold these jobs on; tells which of them are still this owner's."""
        if not ids:
            return set()
        with in_our_words(), self._opened.writer.begin() as connection:
            mine = jobs.c.id.in_(ids) & (jobs.c.owner == owner) & (jobs.c.state == RUNNING)
            connection.execute(
                sa.update(jobs).where(mine).values(lease_until=self._now() + round(lease * 1e6))
            )
            return set(connection.scalars(sa.select(jobs.c.id).where(mine)))

    def finish(self, work: Work, state: str, result: Result, error: str = "") -> bool:
        """The job has ended so; false where it isn't this owner's any more, and nothing has changed."""
        body = b"".join(result.pieces) if result.pieces else None
        values = {
            "status": result.status,
            "content_type": result.content_type,
            "headers": result.headers,
            "result": body,
            "error": error,
        }
        with in_our_words(), self._opened.writer.begin() as connection:
            if not self._owns(connection, work):
                return False
            self._end(connection, work.job.id, state, values)
            return True

    def put_back(self, work: Work, delay: float, error: str, *, counts: bool = True) -> bool:
        """Let it be begun again, ``delay`` seconds from now; ``counts`` says that this run was one of its attempts."""
        with in_our_words(), self._opened.writer.begin() as connection:
            if not self._owns(connection, work):
                return False
            values: dict[str, Any] = {"state": QUEUED, "owner": "", "error": error}
            values["not_before"] = self._now() + round(delay * 1e6)
            if not counts:
                values["attempts"] = work.job.attempts - 1
            connection.execute(sa.update(jobs).where(jobs.c.id == work.job.id).values(values))
            return True

    def add_part(self, work: Work, first_row: int, body: bytes, rows: int, total: int) -> bool:
        """Answers to the next rows, and that they are done. What gets on is not counted as tried in vain."""
        with in_our_words(), self._opened.writer.begin() as connection:
            if not self._owns(connection, work):
                return False
            same = (parts.c.job == work.job.id) & (parts.c.first_row == first_row)
            connection.execute(sa.delete(parts).where(same))
            connection.execute(sa.insert(parts).values(job=work.job.id, first_row=first_row, body=body))
            values = {"rows_done": first_row + rows, "rows_total": total, "attempts": 1}
            connection.execute(sa.update(jobs).where(jobs.c.id == work.job.id).values(values))
            return True

    def cancel(self, id: str) -> Job:  # noqa: A002
        """It need not be run any more; one that has ended is forgotten. Tells how it was. Raises NotFound."""
        with in_our_words(), self._opened.writer.begin() as connection:
            job = self._known(connection, id)
            if job.state in ENDED:
                connection.execute(sa.delete(parts).where(parts.c.job == id))
                connection.execute(sa.delete(jobs).where(jobs.c.id == id))
            else:
                self._end(connection, id, CANCELLED, {"error": "it was cancelled"})
            return job

    def forget(self, seconds: float) -> int:
        """Forget what ended so long ago; tells how many there were."""
        with in_our_words(), self._opened.writer.begin() as connection:
            old = jobs.c.ended_at.is_not(None) & (jobs.c.ended_at < self._now() - round(seconds * 1e6))
            ids = sa.select(jobs.c.id).where(old)
            connection.execute(sa.delete(parts).where(parts.c.job.in_(ids)))
            return connection.execute(sa.delete(jobs).where(old)).rowcount

    def untold(self, patience: float) -> Job | None:
        """A job whose end somebody is to be told of now; nobody else gets it within ``patience`` seconds."""
        with in_our_words(), self._opened.writer.begin() as connection:
            due = (jobs.c.webhook_state == UNTOLD) & (jobs.c.webhook_at <= self._now())
            query = sa.select(*_TOLD).where(due).order_by(jobs.c.webhook_at).limit(1)
            row = connection.execute(query.with_for_update(skip_locked=True)).mappings().first()
            if row is None:
                return None
            values = {
                "webhook_at": self._now() + round(patience * 1e6),
                "webhook_attempts": row["webhook_attempts"] + 1,
            }
            connection.execute(sa.update(jobs).where(jobs.c.id == row["id"]).values(values))
            return _job({**row, **values})

    def told(self, id: str, state: str, delay: float = 0.0) -> None:  # noqa: A002
        """What became of telling; where it is to be tried again, after ``delay`` seconds."""
        values = {"webhook_state": state, "webhook_at": self._now() + round(delay * 1e6)}
        with in_our_words(), self._opened.writer.begin() as connection:
            connection.execute(sa.update(jobs).where(jobs.c.id == id).values(values))

    def close(self) -> None:
        self._opened.settle()
        self._opened.engine.dispose()

    def _now(self) -> int:
        return round(self._clock() * 1e6)

    def _find(self, connection: sa.Connection, id_: str) -> Job | None:
        row = connection.execute(sa.select(*_TOLD).where(jobs.c.id == id_)).mappings().first()
        return None if row is None else _job(row)

    def _known(self, connection: sa.Connection, id_: str) -> Job:
        job = self._find(connection, id_)
        if job is None:
            raise NotFound(f"there is no job {id_!r}, or it ended long ago")
        return job

    def _owns(self, connection: sa.Connection, work: Work) -> bool:
        query = sa.select(jobs.c.owner, jobs.c.state).where(jobs.c.id == work.job.id)
        found = connection.execute(query.with_for_update()).first()
        return found is not None and tuple(found) == (work.owner, RUNNING)

    def _end(self, connection: sa.Connection, id_: str, state: str, values: Mapping[str, Any]) -> None:
        """It has ended, and who wanted to be told will be. Its body is of no use any more."""
        now = self._now()
        ended = {"state": state, "ended_at": now, "owner": "", "body": b"", "webhook_at": now}
        told = sa.case((jobs.c.webhook != "", UNTOLD), else_="")
        connection.execute(
            sa.update(jobs).where(jobs.c.id == id_).values({**ended, **values, "webhook_state": told})
        )


def open_database(where: str | Path) -> JobStore:
    """The jobs in a file or behind a URL. Raises ConfigError."""
    return JobStore(open_content(where, _CONTENT))


def _job(row: Any) -> Job:
    plain = (
        "id", "state", "digest", "order", "attempts", "rows_done", "rows_total", "status", "error", "webhook",
        "webhook_state", "webhook_attempts",
    )  # fmt: skip
    return Job(
        **{name: row[name] for name in plain},
        created=row["created_at"] / 1e6,
        ended=(row["ended_at"] or 0) / 1e6,
    )
