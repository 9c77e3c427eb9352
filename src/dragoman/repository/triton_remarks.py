"""The fields of Triton's ModelConfig that have no effect here, and what follows from that. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from dragoman.repository.fields import Document

#: What a model can do without, and what follows. ``[]`` stands for each item of a list.
_WITHOUT: Final = {
    "runtime": "the server's own runtime is used",
    "input[].format": "inputs are taken as they come",
    "input[].is_shape_tensor": "the input is a tensor like any other",
    "input[].is_non_linear_format_io": "the input is a tensor like any other",
    "input[].allow_ragged_batch": "only requests with rows of equal shapes are joined",
    "output[].is_shape_tensor": "the output is a tensor like any other",
    "output[].is_non_linear_format_io": "the output is a tensor like any other",
    "optimization.graph": "the runtime optimizes as it does by default",
    "optimization.priority": "all models have the same priority",
    "optimization.cuda": "the runtime runs as it does by default",
    "optimization.execution_accelerators": "the runtime runs as it does by default",
    "optimization.gather_kernel_buffer_threshold": "batches are joined in memory",
    "optimization.eager_batching": "a batch is joined when an instance is free",
    "dynamic_batching.preserve_ordering": "answers are given as soon as they are there",
    "dynamic_batching.priority_levels": "all requests have the same priority",
    "dynamic_batching.default_priority_level": "all requests have the same priority",
    "dynamic_batching.priority_queue_policy": "all requests wait in one queue",
    "dynamic_batching.default_queue_policy.timeout_action": "requests whose time is up are refused",
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": (
        "requests wait as long as their own timeout allows"
    ),
    "instance_group[].rate_limiter": "instances run without asking for resources",
    "instance_group[].gpus": "instances run where the runtime does by default",
    "instance_group[].secondary_devices": "instances run where the runtime does by default",
    "instance_group[].profile": "instances run as the runtime does by default",
    "instance_group[].host_policy": "instances run on any core",
    "cc_model_filenames": "the same file is loaded on every machine",
    "metric_tags": "metrics have the labels that all models have",
    "model_operations": "a graph that needs operators of its own can't be loaded",
    "response_cache": "every request is computed",
    "model_metrics": "histograms have the buckets that all models have",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """A field that has no effect here, and what follows from that."""

    field: str
    consequence: str


def unused(config: Document) -> Iterator[Remark]:
    """A remark on each field that says something and has no effect."""
    for path, consequence in _WITHOUT.items():
        if any(_says_something(value) for value in _at(config, path.split("."))):
            yield Remark(path, consequence)


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    """What stands at a path, in each item of the lists on the way."""
    if not path:
        yield value
        return
    name, many, _ = path[0].partition("[]")
    if name in value:
        for item in value[name] if many else [value[name]]:
            yield from _at(item, path[1:])


def _says_something(value: Any) -> bool:
    """Whether a value is another than the field has where it isn't written: protobuf's defaults say nothing."""
    if isinstance(value, dict):
        return any(_says_something(item) for item in value.values())
    return bool(value) and value not in ("FORMAT_NONE", "PRIORITY_DEFAULT", "REJECT")
