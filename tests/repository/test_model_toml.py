"""What a ``model.toml`` says, and what it can't say."""

from pathlib import Path

import pytest

from dragoman.config import ModelSettings
from dragoman.repository.layouts import read
from dragoman.repository.spec import ModelSource, Problem


def read_iris(tmp_path: Path, text: str, **files: str) -> ModelSource | Problem:
    folder = tmp_path / "iris"
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").touch()
    (folder / "model.toml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")
    defaults = ModelSettings(queue_size=5, max_batch=2)
    (found,) = read(str(folder), defaults, lambda path: "onnx" if path.suffix == ".onnx" else None)
    return found


def test_everything_it_may_say_arrives(tmp_path: Path) -> None:
    source = read_iris(
        tmp_path,
        """
        name = "iris"
        max_batch = 16
        max_delay = "5ms"
        file = "model.onnx"

        [options]
        threads = 2

        [[inputs]]
        name = "x"
        datatype = "FP32"
        shape = [-1, 4]

        [[outputs]]
        name = "y"
        labels_file = "labels.txt"

        [[outputs]]
        name = "z"
        optional = true
        labels = ["a", "b"]
        """,
        labels="\ufeffsetosa\nversicolor \n\nvirginica\n\n",
    )
    assert isinstance(source, ModelSource), source
    assert source.settings == ModelSettings(runtime="onnx", max_batch=16, max_delay=0.005, queue_size=5)
    assert source.options == {"threads": 2}
    assert source.inputs == ({"name": "x", "datatype": "FP32", "shape": [-1, 4]},)
    assert source.outputs == (
        {"name": "y", "labels": ["setosa", "versicolor ", "", "virginica"]},
        {"name": "z", "optional": True, "labels": ["a", "b"]},
    )


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("max_bach = 1", "unknown key 'max_bach' (model.toml)", "did you mean 'max_batch'?"),
        ("option = 1", "unknown key 'option' (model.toml)", "did you mean 'options'?"),
        ("max_batch = 'x'", "model.max_batch must be a whole number, at least 0, got 'x' (model.toml)", ""),
        ("name = 'rose'", "model.toml says name = 'rose' in the folder 'iris'", "rename the folder"),
        ("file = 3", "file must be a text, got 3", ""),
        ("file = '/etc/passwd'", "file must lie in the model's folder", ""),
        ("file = 'a/../../x'", "file must lie in the model's folder", ""),
        ("entry = '../x.py:Y'", "file must lie in the model's folder", ""),
        ("options = 3", "options must be a table, got 3", "write [options]"),
        ("inputs = 3", "inputs must be tables, got 3", "write [[inputs]]"),
        ("[inputs]\nname = 'x'", "inputs must be tables", "write [[inputs]]"),
        ("[[inputs]]\nshape = [1]", "each table needs a name ([[inputs]] of model.toml)", ""),
        (
            "[[inputs]]\nname = 'x'\ndtype = 'FP32'",
            "unknown key 'dtype' ([[inputs]] of",
            "did you mean 'datatype'?",
        ),
        ("[[inputs]]\nname = 'x'\n[[inputs]]\nname = 'x'", "inputs has 'x' twice", ""),
        (
            "[[outputs]]\nname = 'x'\nlabels = []\nlabels_file = 'l'",
            "'x' has both labels and labels_file",
            "",
        ),
        ("[[outputs]]\nname = 'x'\nlabels_file = '../l'", "labels_file must lie in the model's folder", ""),
        ("[[outputs]]\nname = 'x'\nlabels_file = 'l'", "can't read labels_file 'l': No such file", ""),
    ],
)
def test_what_it_cannot_say_is_a_problem(tmp_path: Path, text: str, reason: str, hint: str) -> None:
    found = read_iris(tmp_path, text)
    assert isinstance(found, Problem), found
    assert (found.name, found.version) == ("iris", "")
    assert reason in found.reason
    assert hint in found.hint


def test_labels_that_are_no_text_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "labels.bin").write_bytes(b"\xff\xfe")
    found = read_iris(tmp_path, "[[outputs]]\nname = 'x'\nlabels_file = 'labels.bin'")
    assert isinstance(found, Problem)
    assert found.reason == "labels_file 'labels.bin' is not UTF-8 text"
