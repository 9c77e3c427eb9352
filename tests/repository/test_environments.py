"""Requirements of a model, installed beside and not into the server. Nothing here needs a network."""

import os
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragoman.errors import ConfigError
from dragoman.repository import environments
from dragoman.repository.environments import build_environment, digest_of, find_tool, uv

UV = uv(sys.executable, "-m", "uv")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "environments").mkdir()
    return tmp_path / "environments"


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """A model that brings the wheel it needs."""
    model = tmp_path / "model"
    model.mkdir()
    info = "tinything-1.2.dist-info"
    with zipfile.ZipFile(model / "tinything-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinything.py", "answer = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinything\nVersion: 1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (model / "requirements.txt").write_text("# mine\n./tinything-1.2-py3-none-any.whl\n")
    return model / "requirements.txt"


def tool_that(place: Path, script: str) -> environments.Tool:
    """A uv that is a few lines of shell; ``$1`` is venv or pip."""
    (place / "bin").mkdir(exist_ok=True)
    file = place / "bin" / "uv"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return uv(str(file))


def answer(packages: Path) -> str:
    code = "import tinything; print(tinything.answer, tinything.__file__)"
    environ = {**os.environ, "PYTHONPATH": str(packages)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, text=True, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("kind", ["uv", "pip"])
def test_a_workers_path_leads_to_what_the_model_asked_for(
    requirements: Path, root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "pip":
        monkeypatch.setattr(environments.importlib.util, "find_spec", lambda name: None)
    tool = UV if kind == "uv" else find_tool({"PATH": ""})
    lines: list[str] = []
    packages = build_environment(requirements, root, model="m", progress=lines.append, tool=tool)
    assert answer(packages).split() == ["42", str(packages / "tinything.py")]
    assert any("tinything" in line for line in lines)
    assert not any(path.name.startswith(".") for path in root.iterdir())
    again: list[str] = []
    assert build_environment(requirements, root, model="m", progress=again.append, tool=tool) == packages
    assert again == []
    with pytest.raises(ModuleNotFoundError):
        __import__("tinything")


def test_a_failure_says_what_the_tool_said(requirements: Path, root: Path) -> None:
    requirements.write_text("./missing-1.0-py3-none-any.whl\n")
    with pytest.raises(ConfigError) as caught:
        build_environment(requirements, root, model="m", progress=lambda line: None, tool=UV)
    assert str(caught.value) == "Custom pip package installation failed for model m"
    assert "missing-1.0" in caught.value.hint
    assert [path.suffix for path in root.iterdir()] == [".lock"]


def test_only_the_last_lines_are_told(requirements: Path, root: Path, tmp_path: Path) -> None:
    tool = tool_that(tmp_path, "seq 1000; exit 3")
    lines: list[str] = []
    with pytest.raises(ConfigError) as caught:
        build_environment(requirements, root, model="m", progress=lines.append, tool=tool)
    assert caught.value.hint.splitlines() == [str(number) for number in range(981, 1001)]
    assert len(lines) == 1000


@pytest.mark.parametrize("script", ["sleep 60 & sleep 60", "sleep 60 & exit 0"])
def test_a_tool_that_takes_too_long_is_ended_with_its_children(
    requirements: Path, root: Path, tmp_path: Path, script: str
) -> None:
    tool = tool_that(tmp_path, script)
    with pytest.raises(ConfigError) as caught:
        build_environment(requirements, root, model="m", progress=lambda line: None, timeout=0.3, tool=tool)
    assert "it took more than 0.3 s" in caught.value.hint


def test_a_tool_that_cant_be_run_is_a_failure(requirements: Path, root: Path, tmp_path: Path) -> None:
    tool = tool_that(tmp_path, "")
    (tmp_path / "bin" / "uv").chmod(stat.S_IRUSR)
    with pytest.raises(ConfigError) as caught:
        build_environment(requirements, root, model="m", tool=tool)
    assert caught.value.hint == "can't run 'uv': Permission denied"


def test_who_asks_at_once_gets_one_environment(requirements: Path, root: Path) -> None:
    lines: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        tasks = [
            pool.submit(build_environment, requirements, root, model="m", progress=lines.append, tool=UV)
            for _ in range(8)
        ]
        assert len({task.result() for task in tasks}) == 1
    assert sum("Creating virtual environment" in line for line in lines) == 1


def test_half_an_environment_is_swept_away(requirements: Path, root: Path) -> None:
    half = root / f".{digest_of(requirements)}-new"
    (half / "lib").mkdir(parents=True)
    (root / digest_of(requirements)).mkdir()
    packages = build_environment(requirements, root, model="m", progress=lambda line: None, tool=UV)
    assert packages.is_dir()
    assert not half.exists()


def test_the_digest_is_of_all_that_counts(requirements: Path) -> None:
    seen = {digest_of(requirements)}
    wheel = requirements.with_name("tinything-1.2-py3-none-any.whl")
    wheel.write_bytes(b"another")
    seen.add(digest_of(requirements))
    requirements.write_text("six==1.16.0  # pinned\n")
    plain = digest_of(requirements)
    seen.add(plain)
    assert len(seen) == 3
    wheel.write_bytes(b"a third")
    assert digest_of(requirements) == plain


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("-r more.txt", True),
        ("--find-links wheels", True),
        ("./x.whl", True),
        ("/x/y.whl", True),
        ("x.whl", True),
        ("wheels/x-1.zip", True),
        ("x @ file:///x", True),
        ("file:///x", True),
        ("six", False),
        ("torch>=2 ; python_version > '3.8'", False),
        ("x[a,b]==1.0", False),
        ("# ./x.whl", False),
    ],
)
def test_files_beside_count_where_a_line_may_mean_them(line: str, local: bool) -> None:
    assert bool(environments.LOCAL.search(f"six\n{line}\n")) is local


def test_uv_is_told_what_pip_was_told(
    requirements: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.test/simple")
    monkeypatch.setenv("PYTHONPATH", "/of/the/server")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    tool = tool_that(tmp_path, 'echo "$UV_DEFAULT_INDEX|$PYTHONPATH|$PWD"; exit 1')
    with pytest.raises(ConfigError) as caught:
        build_environment(requirements, root, model="m", progress=lambda line: None, tool=tool)
    assert caught.value.hint == f"http://index.test/simple||{requirements.parent}"


def test_uv_is_found_on_the_path_first(tmp_path: Path) -> None:
    tool_that(tmp_path, "")
    assert find_tool({"PATH": str(tmp_path / "bin")}).make(Path("x"))[0] == str(tmp_path / "bin" / "uv")
    assert find_tool({"PATH": ""}).make(Path("x"))[:3] == [sys.executable, "-m", "uv"]
