"""Real models, trained once in a second: what a user of each library would bring."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dragoman.runtimes.base import Artifact
from dragoman.types import DTYPES, InferRequest, InferResponse, Signature, Tensor

Ask = Callable[..., InferRequest]


@pytest.fixture(scope="session")
def digits() -> tuple[Any, Any]:
    """A fitted classifier of 8×8 digits and its rows."""
    rows, classes = load_digits(return_X_y=True)
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(rows, classes), rows


@pytest.fixture(scope="session")
def cancer() -> tuple[Any, Any]:
    """A fitted classifier with the text classes "malignant" and "benign", and its rows."""
    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return model.fit(data.data, data.target_names[data.target]), data.data


@pytest.fixture
def clean_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A model's modules and path are gone after a test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def artifact(path: Path | None, *, trusted: bool = True, entry: str = "", **options: Any) -> Artifact:
    return Artifact("m", "1", path, entry=entry, options=options, trusted=trusted)


def ask(outputs: tuple[str, ...] | None = None, **inputs: Any) -> InferRequest:
    """A request with these arrays, read-only as they come from a wire; a tuple gives the datatype too."""
    tensors = []
    names = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}
    for name, value in inputs.items():
        datatype, data = value if isinstance(value, tuple) else (names[value.dtype], value)
        data = data.view()
        data.flags.writeable = False
        tensors.append(Tensor(name, datatype, data))
    return InferRequest("m", tuple(tensors), id="7", outputs=outputs)


def text(*items: str) -> np.ndarray:
    return np.array([item.encode() for item in items], dtype=object)


def shapes(signature: Signature) -> dict[str, tuple[str, list[int]]]:
    """What a signature says, short: name to datatype and shape."""
    return {spec.name: (spec.datatype, list(spec.shape)) for spec in (*signature.inputs, *signature.outputs)}


def arrays(response: InferResponse) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in response.outputs}
