"""Folders that give our import surfaces their names in any Python."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dragoman.compat.paths import dialect_of, write_path
from dragoman.errors import ConfigError


def run(code, folder, *flags, **environment):
    """What a Python says that has the folder on its path."""
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize(
    ("name", "dialect", "distribution", "version"),
    [
        ("kserve", "", "kserve", "0.21.0"),
        ("kserve", "0.13", "kserve", "0.13.1"),
        ("ts", "", "torchserve", "0.12.0"),
    ],
)
def test_a_folder_gives_the_name_and_the_version(tmp_path, name, dialect, distribution, version):
    folder = write_path(name, dialect, tmp_path)
    code = f"import {name}, importlib.metadata as m; print({name}.__file__, m.version('{distribution}'))"
    file, found = run(code, folder).split()
    assert f"dragoman{os.sep}compat{os.sep}{name}" in file
    assert found == version


def test_submodules_and_dialects_are_there(tmp_path):
    code = (
        "from kserve.model_server import parser; from kserve.errors import InvalidInput;"
        "from kserve.protocol.infer_type import InferRequest as R;"
        "import asyncio, kserve;"
        "print(type(R('m', []).to_rest()).__name__)"
    )
    assert run(code, write_path("kserve", "0.13", tmp_path)) == "dict"
    assert run(code, write_path("kserve", "0.21", tmp_path)) == "tuple"


def test_a_python_without_dragoman_finds_it(tmp_path):
    """Isolated from every site-packages but for what Dragoman needs."""
    folder = write_path("ts", "", tmp_path)
    needed = [str(Path(find_spec(name).origin).parents[1]) for name in ("numpy",)]
    code = (
        f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.path += {needed!r};"
        "import ts; from ts.torch_handler.request_envelope.base import BaseEnvelope; print('found')"
    )
    assert run(code, folder, "-S") == "found"


def test_a_folder_is_written_once_and_again_where_it_differs(tmp_path):
    folder = write_path("ts", "", tmp_path)
    file = folder / "ts" / "__init__.py"
    before = file.stat().st_mtime_ns
    assert write_path("ts", "", tmp_path) == folder
    assert file.stat().st_mtime_ns == before
    file.write_text("damaged")
    write_path("ts", "", tmp_path)
    assert "install" in file.read_text()


def test_who_asks_for_what_is_not_there_is_told_what_is():
    with pytest.raises(ConfigError) as error:
        dialect_of("triton")
    assert error.value.hint == "known: ts, kserve"
    with pytest.raises(ConfigError) as error:
        dialect_of("kserve", "0.5")
    assert error.value.hint == "known: 0.13, 0.21"
