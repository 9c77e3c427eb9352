"""The models behind the recorded exchanges, and how they are laid out in a repository."""

import json
from pathlib import Path

import numpy as np

from dragoman.errors import InvalidInput, ModelFailed, NotFound, NotReady, Unsupported
from dragoman.types import InferRequest, InferResponse

DATATYPES = ("BF16", "BOOL", "BYTES", "FP16", "FP32", "INT64", "UINT64", "UINT8")
REFUSALS = {2: InvalidInput, 3: NotFound, 4: NotReady, 5: Unsupported, 8: ModelFailed}


class AddSub:
    """Sum and difference of rows of four numbers, at most eight rows at once. Names are the recorded model's."""

    inputs = {"INPUT0": ("FP32", [-1, 4]), "INPUT1": ("FP32", [-1, 4])}
    outputs = {"OUTPUT0": ("FP32", [-1, 4]), "OUTPUT1": ("FP32", [-1, 4])}
    batched = True
    max_batch = 8

    def predict(self, INPUT0, INPUT1):
        return {"OUTPUT0": INPUT0 + INPUT1, "OUTPUT1": INPUT0 - INPUT1}


class AddSubInt32(AddSub):
    """The same for one vector of sixteen integers: nothing here is a row."""

    inputs = {"INPUT0": ("INT32", [16]), "INPUT1": ("INT32", [16])}
    outputs = {"OUTPUT0": ("INT32", [16]), "OUTPUT1": ("INT32", [16])}
    batched = False
    max_batch = 0


class Identity:
    """What comes in goes out. The model.toml says of which datatype."""

    def predict(self, inputs):
        return {name.replace("INPUT", "OUTPUT"): data for name, data in inputs.items()}


class Double:
    """Twice what comes in, at most four rows at once."""

    inputs = {"X": ("FP32", [-1, 2])}
    outputs = {"Y": ("FP32", [-1, 2])}
    batched = True
    max_batch = 4

    def predict(self, X):
        return X * 2


class EchoParameters:
    """The request's parameters and id, as JSON."""

    inputs = {"X": ("INT32", [1])}
    outputs = {"PARAMS": ("BYTES", [1])}
    fast = True  # a recorded request gives it five milliseconds

    def predict(self, request: InferRequest):
        parameters = {k: v for k, v in request.parameters.items() if k not in ("priority", "timeout")}
        # Of sequences and timeouts a model isn't told; the recorded one was.
        told = {"corr": 0, "flags": 0, "id": request.id, "params": parameters, "timeout": 0}
        return np.array([json.dumps(told, sort_keys=True)], object)


class Generate:
    """Says what it was asked. The recorded one has an optional second input."""

    inputs = {"text_input": ("BYTES", [1]), "repeat": ("INT32", [1])}
    outputs = {"text_output": ("BYTES", [1])}

    def predict(self, request: InferRequest):
        text = request.input("text_input").data.item().decode()
        told = json.dumps(request.parameters, separators=(",", ":"))
        return np.array([f"{text}#0|{told}".encode()], object)


class Failing(AddSub):
    """Fails as the first number of the request says."""

    def predict(self, INPUT0, INPUT1):
        kind = int(INPUT0.flat[0])
        if kind in REFUSALS:
            raise REFUSALS[kind]("custom error text")
        raise RuntimeError(f"boom from execute in {__file__}")


class Unloadable(AddSub):
    """Never answers: it fails while it is loaded."""

    def load(self):
        raise ValueError("cannot initialize")


class Anything:
    """Takes whatever tensors it is sent and declares none."""

    def predict(self, request: InferRequest):
        return InferResponse(request.model, request.version, request.inputs)


class Iris:
    """Three kinds of flowers by the length of a petal."""

    inputs = {"input-0": ("FP32", [-1, 4])}
    outputs = {"output-0": ("INT64", [-1])}
    batched = True

    def predict(self, request: InferRequest):
        return np.digitize(request.inputs[0].data[:, 2], [2.5, 4.9])


class Sayings:
    """Answers or fails as its one word says."""

    inputs = {"word": ("BYTES", [-1])}
    outputs = {"answer": ("FP64", [-1])}

    def predict(self, word):
        match word[0]:
            case b"invalid":
                raise InvalidInput("bad input given")
            case b"not ready":
                raise NotReady("warming up")
            case b"unsupported":
                raise Unsupported("no such thing")
            case b"nan":
                return np.array([np.nan, np.inf, -0.0, -np.inf])
        raise ValueError("plain value error")


def write_v2_repository(root: Path) -> None:
    """The repository of the recorded v2 exchanges."""
    _write(
        root, "add_sub", "AddSub", '[[outputs]]\nname = "OUTPUT0"\nlabels = ["cat", "dog", "bird", "fish"]\n'
    )
    _write(root, "add_sub_int32", "AddSubInt32")
    _write(root, "autocfg", "Double")
    _write(root, "bad_init", "Unloadable")
    _write(root, "echo_params", "EchoParameters")
    _write(root, "exec_error", "Failing")
    for datatype in DATATYPES:
        _write(root, f"identity_{datatype.lower()}", "Identity", _tensors(datatype, 1))
    _write(root, "multi_version", "AddSub", 'versions = "specific:1,3"\n')
    for version in "123":
        (root / "multi_version" / version).mkdir()
    _write(root, "optional", "Identity", _tensors("FP32", 2))


def write_generate_repository(root: Path) -> None:
    """The repository of the recorded exchanges of the generate extension."""
    _write(root, "add_sub", "AddSub")
    _write(root, "add_sub_int32", "AddSubInt32")
    _write(root, "gen", "Generate", '[[inputs]]\nname = "repeat"\noptional = true\n')
    folder = root / "gen_stream"
    folder.mkdir()
    entry = 'runtime = "kserve"\nentry = "tests.conformance.streams:Repeat"\n'
    (folder / "model.toml").write_text(entry, "utf-8")


def write_control_repository(root: Path) -> None:
    """The repository of the recorded conversation about loading and unloading."""
    _write(root, "add_sub", "AddSub")
    _write(root, "bad_config", "AddSub", 'max_batch = "x"\n')
    _write(root, "bad_init", "Unloadable")
    _write(root, "multi_version", "AddSub", 'versions = "specific:1,3"\n')
    for version in "123":
        (root / "multi_version" / version).mkdir()
    _write(root, "no_version", "AddSub", 'versions = "specific:7"\n')
    _write(root, "warm", "AddSub")


def write_v1_repository(root: Path) -> None:
    """The repository of the recorded exchanges of KServe's server, both of its protocols."""
    _write(root, "identity", "Anything")
    _write(root, "addsub", "AddSub")
    _write(root, "iris", "Iris")
    _write(root, "notready", "Unloadable")
    _write(root, "errors", "Sayings")


def _write(root: Path, name: str, entry: str, description: str = "") -> None:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(f'entry = "{__name__}:{entry}"\n{description}', "utf-8")


def _tensors(datatype: str, count: int) -> str:
    """A table for each input and output; the first is required."""
    return "".join(
        f'[[{kind}s]]\nname = "{kind.upper()}{number}"\ndatatype = "{datatype}"\nshape = [-1]\n'
        f"optional = {str(number > 0).lower()}\n"
        for kind in ("input", "output")
        for number in range(count)
    )
