"""What is counted, in the words of Triton's statistics. A view: counts nothing itself."""

from typing import Any

from dragoman.engine.model import Model
from dragoman.engine.recall import CACHE
from dragoman.engine.registry import Registry
from dragoman.errors import InvalidInput
from dragoman.stats import HIT, MISS, OK, Histogram, ModelStats


def choose(registry: Registry, name: str, version: str) -> list[Model]:
    """The loaded versions that are asked about: one, all of a model, or all. Raises InvalidInput if there is none."""
    models = [model for model in registry if name in ("", model.name)]
    if name and not models:
        raise InvalidInput(f"requested model '{name}' is not available")
    chosen = [model for model in models if version in ("", model.version)]
    if name and not chosen:
        raise InvalidInput(f"requested model version is not available for model '{name}'")
    return chosen


def describe(model: Model) -> dict[str, Any]:
    """A ``ModelStatistics`` as JSON has it, durations in nanoseconds. What only Triton counts is 0."""
    stats = model.stats
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(stats.last * 1000),
        "inference_count": round(stats.batch.total),
        "execution_count": stats.execute.count,
        "inference_stats": _describe_inferences(stats),
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _describe_inferences(stats: ModelStats) -> dict[str, Any]:
    answers = {True: 0, False: 0}
    for (_, code), count in stats.answers.items():
        answers[code == OK] += count
    # Triton counts requests in its queue that the cache has answered; here they are answered before it.
    queued = stats.queue.count + stats.lookups[CACHE, HIT]
    return {
        "success": _duration(answers[True], stats.total),
        "fail": _duration(answers[False], None),
        "queue": _duration(queued, stats.queue),
        "compute_input": _duration(0, None),
        "compute_infer": _duration(stats.execute.count, stats.execute),
        "compute_output": _duration(0, None),
        "cache_hit": _lookups(stats, HIT),
        "cache_miss": _lookups(stats, MISS),
    }


def _duration(count: int, spent: Histogram | None) -> dict[str, int]:
    return {"count": count, "ns": round(spent.total * 1e9) if spent is not None else 0}


def _lookups(stats: ModelStats, outcome: str) -> dict[str, int]:
    return {
        "count": stats.lookups[CACHE, outcome],
        "ns": round(stats.lookup_seconds[CACHE, outcome] * 1e9),
    }
