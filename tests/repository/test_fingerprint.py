"""Files change, or only seem to."""

import os
from pathlib import Path

import pytest

from dragoman.repository.fingerprint import SMALL, Fingerprints

from .test_layouts import make

OLD = 1_700_000_000_000_000_000


def fingerprint(path: Path, before: Fingerprints | None = None) -> str:
    return Fingerprints(before).of(path)


def age(path: Path, time: int = OLD) -> None:
    os.utime(path, ns=(time, time))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    make(tmp_path, "m/1/model.onnx=weights", "m/model.toml=")
    (tmp_path / "m/1/big.bin").write_bytes(bytes(SMALL + 1))
    return tmp_path / "m"


def test_what_is_left_alone_is_the_same(model: Path) -> None:
    looks = Fingerprints()
    first = looks.of(model)
    assert first == fingerprint(model, looks) == fingerprint(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: (m / "1/model.onnx").write_text("weighty"),
        lambda m: (m / "1/model.onnx").write_text("weights, more of them"),
        lambda m: (m / "1/model.onnx").rename(m / "1/other.onnx"),
        lambda m: (m / "1/model.onnx").unlink(),
        lambda m: (m / "1/labels.txt").write_text(""),
        lambda m: (m / "2").mkdir(),
        lambda m: age(m / "1/big.bin", OLD + 1),
        lambda m: (m / "1/big.bin").write_bytes(bytes(SMALL + 2)),
    ],
)
def test_a_change_is_noticed(model: Path, change) -> None:
    age(model / "1/big.bin")
    looks = Fingerprints()
    first = looks.of(model)
    change(model)
    assert fingerprint(model, looks) != first


@pytest.mark.parametrize(
    "change",
    [
        lambda m: (m / "1/model.onnx").touch(),
        lambda m: (m / "1/model.onnx").write_text("weights"),
        lambda m: (m / "1/.model.onnx.swp").write_text("an editor's"),
        lambda m: (m / "README.md").write_text("for people"),
        lambda m: make(m, "1/__pycache__/model.cpython-313.pyc=", "1/model.pyc="),
        lambda m: (m / "1/model.onnx").chmod(0o600),
    ],
)
def test_what_changes_no_model_is_no_change(model: Path, change) -> None:
    looks = Fingerprints()
    first = looks.of(model)
    change(model)
    assert fingerprint(model, looks) == first


def test_another_file_of_the_same_size_and_time_is_another(model: Path) -> None:
    age(model / "1/big.bin")
    looks = Fingerprints()
    first = looks.of(model)
    (model / "1/new.bin").write_bytes(bytes([1]) * (SMALL + 1))
    age(model / "1/new.bin")
    (model / "1/new.bin").rename(model / "1/big.bin")
    assert fingerprint(model, looks) != first


def test_small_files_are_read_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    looks = Fingerprints()
    for file in (model / "1/model.onnx", model / "model.toml"):
        age(file)
    monkeypatch.setattr("time.time_ns", lambda: os.stat(model / "model.toml").st_ctime_ns + 3_000_000_000)
    looks.of(model)
    original = open

    def counting(path: str, mode: str):
        opened.append(Path(path).name)
        return original(path, mode)

    monkeypatch.setattr("builtins.open", counting)
    again = Fingerprints(looks)
    again.of(model)
    assert opened == []
    (model / "model.toml").write_text("max_batch = 2")
    Fingerprints(again).of(model)
    assert opened == ["model.toml"]


def test_links_are_followed_and_not_for_ever(model: Path, tmp_path: Path) -> None:
    (model / "1/up").symlink_to(model)
    make(tmp_path, "elsewhere/weights=1")
    (model / "1/linked").symlink_to(tmp_path / "elsewhere")
    looks = Fingerprints()
    first = looks.of(model)
    make(tmp_path, "elsewhere/weights=2")
    assert fingerprint(model, looks) != first


def test_what_is_not_there_or_can_not_be_read_has_a_fingerprint_too(model: Path, tmp_path: Path) -> None:
    (model / "1/gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(model / "1/pipe")
    assert fingerprint(model) == fingerprint(model)
    assert fingerprint(tmp_path / "nowhere") == fingerprint(tmp_path / "nowhere") != fingerprint(model)
