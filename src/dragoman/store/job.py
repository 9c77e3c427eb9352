"""A job as plain values. Pure: knows no database, and nothing of what a job does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
STATES: Final = (QUEUED, RUNNING, DONE, FAILED, CANCELLED)
ENDED: Final = (DONE, FAILED, CANCELLED)
#: Of telling somebody that a job has ended.
UNTOLD, TOLD, GIVEN_UP = "waiting", "told", "given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of a job, without its body and its result. Times are in seconds since 1970; 0 is not yet."""

    id: str
    state: str = QUEUED
    digest: str = ""
    order: str = ""
    created: float = 0.0
    ended: float = 0.0
    attempts: int = 0
    rows_done: int = 0
    rows_total: int = 0
    status: int = 0
    error: str = ""
    webhook: str = ""
    webhook_state: str = ""
    webhook_attempts: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A job that was claimed, with what it was sent."""

    job: Job
    body: bytes
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a model answered, as HTTP has it. ``pieces`` follow each other."""

    status: int = 200
    content_type: str = "application/json"
    headers: str = "[]"
    pieces: Sequence[bytes] = field(default=())
