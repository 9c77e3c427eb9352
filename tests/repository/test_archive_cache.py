"""Archives unpacked once, by whoever comes first."""

import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from dragoman.errors import ConfigError
from dragoman.repository import cache
from dragoman.repository.archive import Budget
from dragoman.repository.cache import cache_directory, unpack_cached
from dragoman.repository.paths import InvalidArchive
from tests.repository.archives import FILES, manifest, tarred, zipped

CONTENT = {**FILES, "MAR-INF/MANIFEST.json": manifest()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "echo.mar").write_bytes(zipped(CONTENT))
    return tmp_path / "echo.mar"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def marks(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_ino for path in root.rglob("*")}


def test_an_archive_is_unpacked_once_whatever_it_is_called(source: Path, root: Path) -> None:
    directory, digest = unpack_cached(source, root)
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
    assert directory == root / digest / "model"
    assert (directory / "handler.py").read_bytes() == FILES["handler.py"]
    before = marks(root)
    assert unpack_cached(source.rename(source.with_name("other.mar")), root) == (directory, digest)
    assert marks(root) == before


def test_another_content_is_another_entry(source: Path, root: Path) -> None:
    first, _ = unpack_cached(source, root)
    source.write_bytes(tarred({f"echo/{name}": file for name, file in CONTENT.items()}))
    second, _ = unpack_cached(source, root)
    assert second != first
    assert second.name == "echo"
    assert first.is_dir()


@pytest.mark.parametrize("damage", ["missing", "short", "no contents", "bad contents", "list"])
def test_an_entry_that_is_not_whole_is_made_anew(source: Path, root: Path, damage: str) -> None:
    directory, _ = unpack_cached(source, root)
    file, contents = directory / "weights.pt", directory.parent / "contents.json"
    if damage == "missing":
        file.unlink()
    elif damage == "short":
        file.write_bytes(b"")
    elif damage == "no contents":
        contents.unlink()
    else:
        contents.write_text("{" if damage == "bad contents" else "[]")
    assert unpack_cached(source, root)[0] == directory
    assert file.read_bytes() == FILES["weights.pt"]
    assert "weights.pt" in json.loads(contents.read_text())


def test_what_a_handler_writes_beside_its_files_stays(source: Path, root: Path) -> None:
    directory, _ = unpack_cached(source, root)
    (directory / "notes.txt").write_text("mine")
    unpack_cached(source, root)
    assert (directory / "notes.txt").read_text() == "mine"


def test_what_a_killed_process_left_is_swept_away(source: Path, root: Path) -> None:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (root / f".{digest}-new" / "model").mkdir(parents=True)
    (root / f".{digest}-new" / "model" / "half").write_text("half")
    directory, _ = unpack_cached(source, root)
    assert sorted(path.name for path in directory.iterdir()) == ["MAR-INF", "handler.py", "weights.pt"]
    assert sorted(path.name for path in root.iterdir()) == [digest, f"{digest}.lock"]


def test_a_refusal_leaves_no_more_than_the_lock(source: Path, root: Path) -> None:
    with pytest.raises(InvalidArchive):
        unpack_cached(source, root, Budget(files=1))
    assert [path.suffix for path in root.iterdir()] == [".lock"]
    unpack_cached(source, root)


def test_an_archive_that_changes_while_it_is_read_is_refused(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack_open = cache.unpack_open

    def slowly(file, into, budget):
        os.utime(source, ns=(1, 1))
        return unpack_open(file, into, budget)

    monkeypatch.setattr(cache, "unpack_open", slowly)
    with pytest.raises(InvalidArchive, match="changed while it was being read"):
        unpack_cached(source, root)
    assert [path.suffix for path in root.iterdir()] == [".lock"]


def unpack_and_look(source: Path, root: Path) -> tuple[str, int, int]:
    directory, digest = unpack_cached(source, root)
    inode = (directory / "weights.pt").stat().st_ino
    return digest, inode, len((directory / "weights.pt").read_bytes())


def test_eight_threads_unpack_once(source: Path, root: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = {task.result() for task in [pool.submit(unpack_and_look, source, root) for _ in range(24)]}
    assert len(told) == 1


def test_eight_processes_unpack_once(tmp_path: Path, root: Path) -> None:
    source = tmp_path / "large.mar"
    source.write_bytes(zipped({**CONTENT, **{f"part{number}": os.urandom(50_000) for number in range(40)}}))
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        told = {task.result() for task in [pool.submit(unpack_and_look, source, root) for _ in range(16)]}
    assert len(told) == 1
    assert len(list(root.iterdir())) == 2


def test_the_cache_is_the_users_own(tmp_path: Path) -> None:
    directory = cache_directory("models", {"XDG_CACHE_HOME": str(tmp_path / "c")})
    assert directory == tmp_path / "c" / "dragoman" / "models"
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o777)
    with pytest.raises(ConfigError, match="written by others"):
        cache_directory("models", {"XDG_CACHE_HOME": str(tmp_path / "c")})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no place to keep") as caught:
        cache_directory("models", {"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_relative_cache_home_is_not_obeyed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # as the XDG specification has it
    assert cache_directory("models", {"XDG_CACHE_HOME": "here"}) == tmp_path / ".cache/dragoman/models"
