"""A signature as plain lists and back, for the message in which a worker says what it has loaded."""

from typing import Any

from dragoman.types import DTYPES, Signature, TensorSpec


def describe_signature(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": [_describe(spec) for spec in signature.inputs],
        "outputs": [_describe(spec) for spec in signature.outputs],
        "batched": signature.batched,
        "max_batch": signature.max_batch,
    }


def read_signature(document: dict[str, Any]) -> Signature:
    """Raises ValueError, TypeError or KeyError for what no worker of ours would say."""
    inputs, outputs = (tuple(_read(*item) for item in document[key]) for key in ("inputs", "outputs"))
    return Signature(inputs, outputs, bool(document["batched"]), int(document["max_batch"]))


def _describe(spec: TensorSpec) -> list[Any]:
    return [spec.name, spec.datatype, spec.shape, spec.optional, spec.labels]


def _read(name: str, datatype: str, shape: list[int], optional: bool, labels: list[str]) -> TensorSpec:
    if datatype not in DTYPES:
        raise ValueError(f"unknown datatype {datatype!r}")
    return TensorSpec(
        str(name), datatype, tuple(int(n) for n in shape), bool(optional), tuple(map(str, labels))
    )
