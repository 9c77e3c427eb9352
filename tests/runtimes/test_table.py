import subprocess
import sys
from pathlib import Path

import pytest

from dragoman.errors import ConfigError
from dragoman.runtimes.base import Runtime, require
from dragoman.runtimes.table import RUNTIMES, guess, runtime_class

from .conftest import artifact


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_every_runtime_is_where_the_table_says(name: str) -> None:
    found = runtime_class(name)
    assert issubclass(found, Runtime)
    assert found.extra == ("" if name in ("kserve", "python", "triton_python") else name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("pytorch", "torch"), ("onxx", "onnx"), ("Python", "python"), ("scikit-learn", "sklearn")],
)
def test_an_unknown_runtime_is_refused_with_the_likely_one(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        runtime_class(name)
    assert f"did you mean {meant!r}?" in caught.value.hint
    assert "lightgbm, onnx" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("m.onnx", b"", "onnx"),
        ("m.ONNX", b"", "onnx"),
        ("m.joblib", b"", "sklearn"),
        ("m.pkl", b"", "sklearn"),
        ("m.pickle", b"", "sklearn"),
        ("m.skops", b"", "sklearn"),
        ("m.ubj", b"", "xgboost"),
        ("m.xgb", b"", "xgboost"),
        ("m.json", b'{"learner":{"attributes":{}}}', "xgboost"),
        ("m.json", b'{"name": "settings"}', None),
        ("m.json", b'{"name": "' + b"x" * 70 + b'learner"}', None),
        ("m.bst", b"{L\0\0\0\0\0\0\0\x07learner{", "xgboost"),
        ("m.bst", b"tree\nversion=v4\n", "lightgbm"),
        ("m.bst", b"", None),
        ("m.txt", b"tree\nversion=v4\n", "lightgbm"),
        ("m.txt", b"trees are green\n", None),
        ("m.lgb", b"tree\r\nversion=v4\r\n", "lightgbm"),
        ("m.pt", b"", "torch"),
        ("m.pth", b"", "torch"),
        ("m.pt2", b"", "torch"),
        ("m.ts", b"", "torch"),
        ("m.py", b"", "python"),
        ("README.md", b"tree\n", None),
        ("noname", b"", None),
    ],
)
def test_a_file_names_its_runtime(tmp_path: Path, file: str, content: bytes, expected: str | None) -> None:
    (tmp_path / file).write_bytes(content)
    assert guess(tmp_path / file) == expected


def test_a_file_that_cannot_be_read_is_nobodys(tmp_path: Path) -> None:
    assert guess(tmp_path / "absent.txt") is None


@pytest.mark.parametrize(
    ("runtime", "module"),
    [
        ("onnx", "onnxruntime"),
        ("sklearn", "sklearn"),
        ("xgboost", "xgboost"),
        ("lightgbm", "lightgbm"),
        ("torch", "torch"),
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    runtime: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"needs the Python package {module!r}") as caught:
        runtime_class(runtime).load(artifact(tmp_path / "absent"))
    assert caught.value.hint == f"pip install 'dragoman[{runtime}]'"


def test_a_library_that_misses_another_tells_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfthere.py").write_text("import notthere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="notthere"):
        require("halfthere", "extra")


def test_the_table_imports_no_library() -> None:
    code = "import sys, dragoman.runtimes.table; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"onnxruntime", "sklearn", "torch", "xgboost", "lightgbm"} & set(done.stdout.split())
