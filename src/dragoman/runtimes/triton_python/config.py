"""What a model's configuration says to the server: its signature, its batches, whether it answers in parts.

Knows the fields of Triton's ModelConfig as the model's own code may have left them, so each is checked again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.compat.triton_python_backend_utils.config import using_decoupled_model_transaction_policy
from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact
from dragoman.runtimes.signature import make_spec
from dragoman.types import Signature, TensorSpec

Document = dict[str, Any]


def initial_config(artifact: Artifact) -> Document:
    """The operator's configuration; without one what the options say, and else one that says nothing."""
    options = artifact.options
    if said := options.get("config"):
        return dict(said)
    most = options.get("max_batch", 0)
    config: Document = {"name": artifact.name, "platform": "", "backend": "python", "max_batch_size": most}
    for kind in ("input", "output"):
        config[kind] = [_described(table, most > 0) for table in options.get(f"{kind}s", ())]
    if most:
        config["dynamic_batching"] = {}
    return {**config, "default_model_filename": "model.py", "parameters": {}}


def read_signature(config: Mapping[str, Any], artifact: Artifact) -> Signature:
    """Shapes in full. Raises ConfigError for a configuration that the model has made unreadable."""
    most = config.get("max_batch_size", 0)
    if type(most) is not int or most < 0:
        raise ConfigError(f"max_batch_size must be a whole number from 0 on, got {most!r}")
    inputs = _specs(config.get("input", ()), most > 0, artifact.options.get("inputs", ()))
    outputs = _specs(config.get("output", ()), most > 0, artifact.options.get("outputs", ()))
    return Signature(inputs, outputs, most > 0, most)


def most_requests(config: Mapping[str, Any]) -> int:
    """How many rows may come together; without a batcher every request comes by itself."""
    return max(1, config.get("max_batch_size", 0)) if "dynamic_batching" in config else 1


def is_decoupled(config: Mapping[str, Any]) -> bool:
    return using_decoupled_model_transaction_policy(config)


def _specs(
    tensors: Sequence[Mapping[str, Any]], batched: bool, said: Sequence[Mapping[str, Any]]
) -> tuple[TensorSpec, ...]:
    labels = {table["name"]: table.get("labels", ()) for table in said}
    specs = []
    for tensor in tensors:
        name, dims = tensor.get("name"), tensor.get("reshape", {}).get("shape", tensor.get("dims"))
        datatype = str(tensor.get("data_type", "")).removeprefix("TYPE_").replace("STRING", "BYTES")
        shape = [-1, *dims] if batched and isinstance(dims, list | tuple) else dims
        specs.append(
            make_spec(
                name, datatype, shape, optional=tensor.get("optional", False), labels=labels.get(name, ())
            )
        )
    return tuple(specs)


def _described(table: Mapping[str, Any], batched: bool) -> Document:
    """A tensor of ``model.toml`` in Triton's words."""
    shape = list(table.get("shape", ()))
    described = {
        "name": table["name"],
        "data_type": "TYPE_" + str(table.get("datatype", "")).upper().replace("BYTES", "STRING"),
        "dims": shape[1:] if batched else shape,
    }
    return {**described, "optional": True} if table.get("optional") else described
