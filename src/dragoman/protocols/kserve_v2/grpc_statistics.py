"""What is counted, in the words of Triton's statistics. A view: counts nothing itself."""

from typing import Any

from dragoman.engine.recall import CACHE
from dragoman.stats import HIT, MISS, OK, Histogram, ModelStats


def encode_statistics(stats: ModelStats, into: Any) -> None:
    """Fill a ``ModelStatistics``. What Triton counts and this server doesn't stays 0."""
    answers = {True: 0, False: 0}
    for (_, code), count in stats.answers.items():
        answers[code == OK] += count
    into.last_inference = int(stats.last * 1000)
    into.inference_count = round(stats.batch.total)
    into.execution_count = stats.execute.count
    _encode_duration(into.inference_stats.success, answers[True], stats.total)
    # Triton counts requests in its queue that the cache has answered; here they are answered before it.
    _encode_duration(into.inference_stats.queue, stats.queue.count + stats.lookups[CACHE, HIT], stats.queue)
    _encode_duration(into.inference_stats.compute_infer, stats.execute.count, stats.execute)
    into.inference_stats.fail.count = answers[False]
    for field, outcome in ((into.inference_stats.cache_hit, HIT), (into.inference_stats.cache_miss, MISS)):
        field.count = stats.lookups[CACHE, outcome]
        field.ns = round(stats.lookup_seconds[CACHE, outcome] * 1e9)


def _encode_duration(into: Any, count: int, spent: Histogram) -> None:
    into.count = count
    into.ns = round(spent.total * 1e9)
