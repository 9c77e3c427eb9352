"""Opens PyTorch's archives: which kind a file is, what its program takes and gives, and how to call it.

Knows files and PyTorch, nothing of requests.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError, InvalidInput
from dragoman.runtimes.base import require
from dragoman.runtimes.options import cannot_load
from dragoman.types import Signature, TensorSpec

#: A program's call: tensors by name go in, whatever it returns comes out.
Call = Callable[[dict[str, Any]], Any]

_DATATYPES: Final = {
    "torch.bool": "BOOL",
    "torch.uint8": "UINT8",
    "torch.uint16": "UINT16",
    "torch.uint32": "UINT32",
    "torch.uint64": "UINT64",
    "torch.int8": "INT8",
    "torch.int16": "INT16",
    "torch.int32": "INT32",
    "torch.int64": "INT64",
    "torch.float16": "FP16",
    "torch.bfloat16": "BF16",
    "torch.float32": "FP32",
    "torch.float64": "FP64",
}
_EXPORTED = re.compile(r"(.*/)?(models/[^/]*\.json|serialized_exported_program\.json)")
_POSITION = re.compile(r".*__(\d+)")  # Triton's names for tensors that have none: INPUT__0, OUTPUT__1


def open_archive(path: Path, torch: Any, device: Any) -> tuple[Signature, Call]:
    """The program in ``path``, on ``device``. Raises ConfigError for a file without a program."""
    load = {"export": _open_export, "script": _open_script}[_kind(path)]
    try:
        return load(path, torch, device)
    except ConfigError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise cannot_load("torch", path, error) from error


def flatten(result: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of whatever a program returned: a dict's own keys, else ``OUTPUT__0`` and so on."""
    if isinstance(result, dict):
        for key, value in result.items():
            yield str(key), value
    elif isinstance(result, tuple | list):
        for index, value in enumerate(result):
            yield f"OUTPUT__{index}", value
    else:
        yield "OUTPUT__0", result


def in_position(names: Iterable[str]) -> list[str]:
    """Names in the order of the numbers at their ends, where all have one (``INPUT__1``), else unchanged."""
    names = list(names)
    matches = [match for name in names if (match := _POSITION.fullmatch(name)) is not None]
    if len(matches) != len(names):
        return names
    return sorted(names, key=lambda name: int(name.rpartition("__")[2]))


def _kind(path: Path) -> str:
    """``export`` or ``script``, by the archive's table of contents: nothing is unpickled to find out."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        names = []
    if any(name.endswith("/constants.pkl") for name in names):
        return "script"
    if any(_EXPORTED.fullmatch(name) for name in names):
        return "export"
    raise ConfigError(
        f"{path.name} holds no program: weights alone (a state_dict) and pickled modules can't be served",
        hint="export the model: torch.export.save(torch.export.export(model, args), 'model.pt2')",
    )


def _open_script(path: Path, torch: Any, device: Any) -> tuple[Signature, Call]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)  # the format is old, and in use
        module = torch.jit.load(str(path), map_location=device).eval()
    schema = module.forward.schema.arguments[1:]  # without self
    known = {argument.name for argument in schema}
    fewest = sum(not argument.has_default_value() for argument in schema)

    def call(given: dict[str, Any]) -> Any:
        if not fewest <= len(given) <= len(schema):
            raise InvalidInput(f"the model takes {len(schema)} inputs, got {len(given)}: {', '.join(given)}")
        if given.keys() <= known:
            return module(**given)
        return module(*[given[name] for name in in_position(given)])

    return Signature((), ()), call


def _open_export(path: Path, torch: Any, device: Any) -> tuple[Signature, Call]:
    pytree: Any = require("torch.utils._pytree", "torch")  # the only reader of an export's call_spec

    program = torch.export.load(str(path))
    if device.type != "cpu":
        passes: Any = require("torch.export.passes", "torch")
        program = passes.move_to_device_pass(program, str(device))
    module = program.module()
    spec_of_call = program.call_spec
    nodes = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names = [str(name) for name in program.graph_signature.user_inputs]
    results = pytree.tree_unflatten(
        [nodes.get(name) for name in program.graph_signature.user_outputs], spec_of_call.out_spec
    )

    def call(given: dict[str, Any]) -> Any:
        args, kwargs = pytree.tree_unflatten([given[name] for name in names], spec_of_call.in_spec)
        return module(*args, **kwargs)

    inputs = tuple([_spec(name, nodes.get(name)) for name in names])
    return Signature(inputs, tuple([_spec(name, value) for name, value in flatten(results)])), call


def _spec(name: str, value: Any) -> TensorSpec:
    datatype = _DATATYPES.get(str(getattr(value, "dtype", None)))
    if datatype is None:
        raise ConfigError(f"{name!r} is not a tensor that can be sent: {value}")
    return TensorSpec(name, datatype, tuple([size if type(size) is int else -1 for size in value.shape]))
