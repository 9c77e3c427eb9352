"""Signatures from what people write: a model class's declarations, the operator's ``inputs`` and ``outputs``.

Knows no library: a runtime reads its file, then asks here what the operator adds.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact
from dragoman.types import DTYPES, Signature, TensorSpec

_FIELDS = frozenset({"name", "datatype", "shape", "optional", "labels"})


def make_spec(
    name: Any, datatype: Any, shape: Any, *, optional: bool = False, labels: Iterable[Any] = ()
) -> TensorSpec:
    """One input or output, checked; raises ConfigError for a name, datatype or shape that is none."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a tensor's name must be a string, got {name!r}")
    if not isinstance(datatype, str) or datatype.upper() not in DTYPES:
        raise ConfigError(f"{name!r}: unknown datatype {datatype!r}", hint=f"known: {', '.join(DTYPES)}")
    if not isinstance(shape, list | tuple) or not all(type(size) is int and size >= -1 for size in shape):
        raise ConfigError(f"{name!r}: shape must be a list of sizes, -1 for any, got {shape!r}")
    return TensorSpec(name, datatype.upper(), tuple(shape), bool(optional), tuple(map(str, labels)))


def complete(
    artifact: Artifact, found: Signature, *, rename: bool = False, retype: bool = False
) -> Signature:
    """``found`` in the model's file, with what the operator's options say on top.

    ``inputs`` and ``outputs`` are lists of ``{name, datatype, shape, optional, labels}``. Where the file
    declares nothing, they are the declaration. Where it does, an entry goes by its name and may give labels
    or a shape of the same rank; ``rename`` lets a single tensor be called otherwise (for libraries that
    don't know names), ``retype`` lets a datatype differ. ``batched`` and ``max_batch`` replace what was
    found; rows can be joined only where every first size is -1.
    """
    options = artifact.options
    inputs = _merge("input", found.inputs, options.get("inputs", ()), rename, retype)
    outputs = _merge("output", found.outputs, options.get("outputs", ()), rename, retype)
    max_batch = options.get("max_batch", found.max_batch)
    batched = options.get("batched", found.batched or max_batch > 1)
    if batched:
        _require_rows((*inputs, *outputs))
    return Signature(inputs, outputs, batched, max_batch)


def _merge(
    kind: str, found: tuple[TensorSpec, ...], said: Iterable[Any], rename: bool, retype: bool
) -> tuple[TensorSpec, ...]:
    entries = [_fields(kind, entry) for entry in said]
    if not found:
        return tuple(make_spec(**{"datatype": None, "shape": None, **entry}) for entry in entries)
    specs = {spec.name: spec for spec in found}
    if rename and len(found) == len(entries) == 1:
        specs = {entries[0]["name"]: found[0]}
    for entry in entries:
        name = entry["name"]
        if name not in specs:
            near = difflib.get_close_matches(name, specs, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"the model has no {kind} {name!r}", hint=f"{hint}it has: {', '.join(specs)}")
        specs[name] = _overlay(kind, specs[name], entry, retype)
    return tuple(specs.values())


def _fields(kind: str, entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ConfigError(f"each {kind} must be a table with a name, got {entry!r}")
    if unknown := sorted(set(entry) - _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise ConfigError(f"{kind} {entry['name']!r}: unknown key {unknown[0]!r}", hint=f"known: {known}")
    return entry


def _overlay(kind: str, spec: TensorSpec, entry: Mapping[str, Any], retype: bool) -> TensorSpec:
    base = {
        "datatype": spec.datatype,
        "shape": spec.shape,
        "optional": spec.optional,
        "labels": spec.labels,
    }
    result = make_spec(**{**base, **entry})
    if result.datatype != spec.datatype and not retype:
        raise ConfigError(f"{kind} {result.name!r} is {spec.datatype} in the model, not {result.datatype}")
    if len(result.shape) != len(spec.shape):
        got, want = list(result.shape), list(spec.shape)
        raise ConfigError(f"{kind} {result.name!r} has shape {want} in the model, {got} has another rank")
    return result


def _require_rows(specs: tuple[TensorSpec, ...]) -> None:
    for spec in specs:
        if not spec.shape or spec.shape[0] != -1:
            raise ConfigError(
                f"the model can't be batched: {spec.name!r} has shape {list(spec.shape)}",
                hint="joining rows needs -1 as the first size of every input and output",
            )
