"""A Triton ModelConfig as its models are told it: every field that a message has, with protobuf's default where nothing
was written, and the few that Triton fills in itself. Pure.
"""

from typing import Any

from dragoman.repository.fields import BOOL, FLOAT, STRING, Document, Enum, Kind, Many, Map, Message
from dragoman.repository.triton_fields import MODEL_CONFIG

#: Messages that are there in any case.
_ALWAYS: dict[str, Any] = {
    "version_policy": {"latest": {"num_versions": 1}},
    "optimization": {"input_pinned_memory": {"enable": True}, "output_pinned_memory": {"enable": True}},
}


def fill(config: Document, name: str) -> Document:
    """The checked configuration of the Python model ``name`` with all that it leaves out."""
    said = {**_ALWAYS, "default_model_filename": "model.py", **config, "name": name}
    most = said.get("max_batch_size", 0)
    if "dynamic_batching" in said and most:
        said["dynamic_batching"] = {"preferred_batch_size": [most], **said["dynamic_batching"]}
    groups = said.get("instance_group") or [{"name": name}]
    said["instance_group"] = [_group(group, name, place) for place, group in enumerate(groups)]
    filled: Document = _filled(said, MODEL_CONFIG)
    return filled


def _group(group: Document, name: str, place: int) -> Document:
    kind = group.get("kind", "KIND_AUTO")
    named = {"name": f"{name}_{place}", "count": 1, **group}
    return {**named, "kind": "KIND_CPU" if kind == "KIND_AUTO" else kind}


def _filled(value: Any, kind: Kind) -> Any:
    if isinstance(kind, Many):
        return [_filled(item, kind.of) for item in value]
    if isinstance(kind, Map):
        return {key: _filled(item, kind.of) for key, item in value.items()}
    if not isinstance(kind, Message):
        return value
    chosen = {name for group in kind.choices for name in group}
    filled = {}
    for name, inner in kind.fields.items():
        if name in value:
            filled[name] = _filled(value[name], inner)
        elif name not in chosen and not isinstance(inner, Message):
            filled[name] = _default(inner)
    return filled


def _default(kind: Kind) -> Any:
    if isinstance(kind, Many):
        return []
    if isinstance(kind, Map):
        return {}
    if isinstance(kind, Enum):
        return kind.names[0]
    if kind is STRING:
        return ""
    return False if kind is BOOL else 0.0 if kind is FLOAT else 0
