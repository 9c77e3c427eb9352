"""What the server tells of itself and of its models: metadata, configuration in Triton's words, the index.

Pure: from signatures to JSON, with the keys in the order in which Triton writes them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from dragoman.config import ModelSettings
from dragoman.errors import InvalidInput
from dragoman.protocols.kserve_v2.windows import NOTHING_SHARED, Shared
from dragoman.tensors import Buffer, dump_json, parse_json
from dragoman.types import Signature, TensorSpec

#: What every server offers of Triton's extensions.
EXTENSIONS: Final = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)

_SHARED_MEMORY: Final = ("system_shared_memory", "cuda_shared_memory")

#: Platforms for which Triton names a backend apart, and the file it looks for.
_BACKENDS: Final = {
    "onnxruntime_onnx": ("onnxruntime", "model.onnx"),
    "pytorch_libtorch": ("pytorch", "model.pt"),
    "ensemble": ("", ""),
}
_FILES: Final = {"python": "model.py", "onnx": "model.onnx", "torch": "model.pt"}


class IndexEntry(NamedTuple):
    """One version of a model in the repository. Without one there is only a name, and perhaps a reason."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


def extensions(shared: Shared) -> tuple[str, ...]:
    """What a server offers where this is shared with it."""
    return EXTENSIONS if shared is NOTHING_SHARED else (*EXTENSIONS, *_SHARED_MEMORY)


def encode_server_metadata(name: str, version: str, extensions: Sequence[str] = EXTENSIONS) -> bytes:
    """Who answers and which extensions of the protocol it speaks."""
    return dump_json({"name": name, "version": version, "extensions": list(extensions)})


def encode_model_ready(name: str) -> bytes:
    """What the protocol says of a model that answers, where Triton says nothing."""
    return dump_json({"name": name, "ready": True})


def encode_model_metadata(name: str, versions: Sequence[str], platform: str, signature: Signature) -> bytes:
    """A model's inputs and outputs, shapes in full."""
    return dump_json(
        {
            "name": name,
            "versions": list(versions),
            "platform": platform,
            "inputs": [_describe(spec) for spec in signature.inputs],
            "outputs": [_describe(spec) for spec in signature.outputs],
        }
    )


def _describe(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def encode_config(name: str, platform: str, signature: Signature, settings: ModelSettings) -> bytes:
    """The model as a Triton ModelConfig.

    Triton's dims lack the batch dimension where ``max_batch_size`` is positive. A model that takes batches of
    any size has no such number: it is shown with 0 and full shapes, which says the same.
    """
    batched = signature.batched and signature.max_batch > 0
    backend, filename = _BACKENDS.get(platform, (platform, _FILES.get(platform, "")))
    config: dict[str, Any] = {
        "name": name,
        "platform": platform if platform in _BACKENDS else "",
        "backend": backend,
        "runtime": "",
        "version_policy": _configure_versions(settings.versions),
        "max_batch_size": signature.max_batch if batched else 0,
        "input": [_configure_input(spec, batched) for spec in signature.inputs],
        "output": [_configure_output(spec, batched) for spec in signature.outputs],
        "batch_input": [],
        "batch_output": [],
        "optimization": _OPTIMIZATION,
    }
    if settings.response_cache:
        config["response_cache"] = {"enable": True}
    if batched:
        config["dynamic_batching"] = _configure_batching(signature.max_batch, settings)
    config |= {
        "instance_group": [_configure_instances(name, settings.instances)],
        "default_model_filename": filename,
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": _ROWS if signature.batched and not batched else {},
        "model_warmup": [],
    }
    return dump_json(config)


#: What ``max_batch_size`` can't say of a model that takes any number of rows.
ROWS_KEY: Final = "rows"
_ROWS: Final = {ROWS_KEY: {"string_value": "independent"}}
_OPTIMIZATION = {
    "priority": "PRIORITY_DEFAULT",
    "input_pinned_memory": {"enable": True},
    "output_pinned_memory": {"enable": True},
    "gather_kernel_buffer_threshold": 0,
    "eager_batching": False,
}


def _type_name(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def _configure_input(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _type_name(spec.datatype),
        "format": "FORMAT_NONE",
        "dims": spec.shape[1:] if batched else spec.shape,
        "is_shape_tensor": False,
        "allow_ragged_batch": False,
        "optional": spec.optional,
        "is_non_linear_format_io": False,
    }


def _configure_output(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _type_name(spec.datatype),
        "dims": spec.shape[1:] if batched else spec.shape,
        "label_filename": "labels.txt" if spec.labels else "",
        "is_shape_tensor": False,
        "is_non_linear_format_io": False,
    }


def _configure_versions(policy: str) -> dict[str, Any]:
    """``latest``, ``latest:2``, ``all`` or ``specific:1,3`` as Triton's version_policy."""
    kind, _, rest = policy.partition(":")
    if kind == "all":
        return {"all": {}}
    if kind == "specific":
        return {"specific": {"versions": [int(version) for version in rest.split(",")]}}
    return {"latest": {"num_versions": int(rest or 1)}}


def _configure_batching(max_batch: int, settings: ModelSettings) -> dict[str, Any]:
    return {
        "preferred_batch_size": settings.preferred_batch or (max_batch,),
        "max_queue_delay_microseconds": round(settings.max_delay * 1e6),
        "preserve_ordering": False,
        "priority_levels": 0,
        "default_priority_level": 0,
        "priority_queue_policy": {},
    }


def _configure_instances(name: str, count: int) -> dict[str, Any]:
    return {
        "name": f"{name}_0",
        "kind": "KIND_CPU",
        "count": count,
        "gpus": [],
        "secondary_devices": [],
        "profile": [],
        "passive": False,
        "host_policy": "",
    }


def encode_index(entries: Iterable[IndexEntry]) -> bytes:
    """The repository's index."""
    return dump_json([_describe_entry(entry) for entry in entries])


def _describe_entry(entry: IndexEntry) -> dict[str, str]:
    line = {"name": entry.name}
    if entry.version:
        line |= {"version": entry.version, "state": entry.state}
    if entry.reason:
        line["reason"] = entry.reason
    return line


def decode_index(body: Buffer) -> bool:
    """Whether only ready models are asked for. An empty body asks for all."""
    if not len(body):
        return False
    document = parse_json(body)
    ready = document.get("ready") if type(document) is dict else None
    if ready is not None and type(ready) is not bool:
        raise InvalidInput("attempt to access JSON non-boolean as boolean")
    return bool(ready)
