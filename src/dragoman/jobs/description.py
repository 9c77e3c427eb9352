"""A job as JSON, for its owner and for webhooks. Pure."""

from datetime import UTC, datetime
from typing import Any

from dragoman.jobs.order import Order
from dragoman.store.job import ENDED, Job

Document = dict[str, Any]


def describe(job: Job) -> Document:
    """Times are RFC 3339 in UTC, ``null`` where it is not so far."""
    order = Order.decode(job.order)
    document: Document = {
        "id": job.id,
        "state": job.state,
        "model": order.model,
        "version": order.version,
        "to": order.path + (f"?{order.query}" if order.query else ""),
        "created": _time(job.created),
        "ended": _time(job.ended),
        "attempts": job.attempts,
        "status": job.status or None,
        "error": job.error,
        "rows": None,
        "result": f"/jobs/{job.id}/result" if job.state in ENDED else None,
        "webhook": None,
    }
    if order.is_rows:
        document["rows"] = {"done": job.rows_done, "total": job.rows_total or None}
    if job.webhook:
        document["webhook"] = {
            "state": job.webhook_state or "waiting for the end",
            "attempts": job.webhook_attempts,
        }
    return document


def describe_event(job: Job) -> Document:
    """What a webhook is sent: Standard Webhooks' type, timestamp and data."""
    return {"type": f"job.{job.state}", "timestamp": _time(job.ended), "data": describe(job)}


def _time(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None
