"""How long each hook of a model takes, as histograms with KServe's names.

They have a registry of their own: KServe's package registers the same names in the process's default one, and a
program may hold both.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from prometheus_client import CollectorRegistry, Histogram

REGISTRY: Final = CollectorRegistry()
PROM_LABELS: Final = ["model_name"]

PRE_HIST_TIME: Final = Histogram(
    "request_preprocess_seconds", "pre-process request latency", PROM_LABELS, registry=REGISTRY
)
POST_HIST_TIME: Final = Histogram(
    "request_postprocess_seconds", "post-process request latency", PROM_LABELS, registry=REGISTRY
)
PREDICT_HIST_TIME: Final = Histogram(
    "request_predict_seconds", "predict request latency", PROM_LABELS, registry=REGISTRY
)
EXPLAIN_HIST_TIME: Final = Histogram(
    "request_explain_seconds", "explain request latency", PROM_LABELS, registry=REGISTRY
)


@dataclass(slots=True)
class LLMStats:
    """Tokens that a request of a language model took."""

    num_prompt_tokens: int = 0
    num_generation_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """The histograms of one model."""

    preprocess: Any
    predict: Any
    explain: Any
    postprocess: Any


@lru_cache(maxsize=1024)
def times_of(model_name: str) -> Times:
    return Times(
        PRE_HIST_TIME.labels(model_name),
        PREDICT_HIST_TIME.labels(model_name),
        EXPLAIN_HIST_TIME.labels(model_name),
        POST_HIST_TIME.labels(model_name),
    )


def get_labels(model_name: str) -> dict[str, str]:
    return {PROM_LABELS[0]: model_name}
