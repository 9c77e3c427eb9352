"""Object stores by fsspec: files and folders of them, and libraries that fail, hang or aren't there."""

import hashlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as libraries

from dragoman.errors import (
    AlreadyThere,
    DownloadFailed,
    DownloadTooLarge,
    InvalidInput,
    SourceNotFound,
    Unsupported,
)
from dragoman.repository.sources import Budget, Sources

from .hosts import PATIENCE, listing, unchanged

FILE = b"0123456789" * 100


@pytest.fixture(autouse=True)
def bucket() -> Iterator[MemoryFileSystem]:
    bucket = fsspec.filesystem("memory", skip_instance_cache=True)
    bucket.pipe({
        "/bucket/x.mar": FILE,
        "/bucket/models/iris/model.toml": b"max_batch = 8\n",
        "/bucket/models/iris/1/model.onnx": FILE,
        "/bucket/models/iris2/1/model.onnx": b"another",
    })  # fmt: skip
    yield bucket
    bucket.rm("/", recursive=True)


class Bucket(MemoryFileSystem):
    """The same objects under ``s3://``."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("s3://", "memory://")))


def test_an_object_is_brought_into_the_store(sources: Sources, store: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetched = sources.fetch("memory://bucket/x.mar", progress=lambda *pair: told.append(pair))
    assert fetched.path.read_bytes() == FILE
    assert (fetched.digest, fetched.size) == (hashlib.sha256(FILE).hexdigest(), len(FILE))
    assert (told[0], told[-1]) == ((0, len(FILE)), (len(FILE), len(FILE)))
    with unchanged(store), pytest.raises(AlreadyThere):
        sources.fetch("memory://bucket/x.mar")


def test_so_is_all_that_lies_below_a_name(sources: Sources, store: Path) -> None:
    fetched = sources.fetch("memory://bucket/models/iris", check=lambda path: (path / "1/model.onnx").stat())
    assert sorted(listing(store)) == ["iris", "iris/1", "iris/1/model.onnx", "iris/model.toml", "old.mar"]
    assert (fetched.path / "1" / "model.onnx").read_bytes() == FILE
    lines = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in (("1/model.onnx", FILE), ("model.toml", b"max_batch = 8\n"))
    )
    assert fetched.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert fetched.size == len(FILE) + 14
    fetched.discard()
    assert sources.fetch("memory://bucket/models/iris", digest=fetched.digest).digest == fetched.digest


@pytest.mark.parametrize("url", ["memory://bucket/y.mar", "memory://bucket/models/i", "memory://other/x.mar"])
def test_what_is_not_there_is_not_found(sources: Sources, store: Path, url: str) -> None:
    with unchanged(store), pytest.raises(SourceNotFound):
        sources.fetch(url)


@pytest.mark.parametrize(
    "budget", [Budget(bytes=len(FILE) - 1), Budget(files=1, bytes=len(FILE) * 2)], ids=["bytes", "files"]
)
def test_budgets_hold_for_all_files_together(sources: Sources, store: Path, budget: Budget) -> None:
    with unchanged(store), pytest.raises(DownloadTooLarge):
        replace(sources, budget=budget).fetch("memory://bucket/models/iris")


@pytest.mark.parametrize(
    "names",
    [
        ["../evil"], ["a/../../evil"], ["a//b"], ["./a"], ["a\\..\\b"], ["a\0b"], ["a\nb"], ["C:x"], ["x" * 300],
        ["a", "a/b"], ["a/b", "a/b/c"],
    ],
)  # fmt: skip
def test_names_that_no_folder_can_hold_are_refused(
    sources: Sources, store: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evil(Bucket):
        def find(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
            return {
                f"/bucket/models/iris/{name}": {"size": 1, "type": "file"} for name in [*names, "model.toml"]
            }

    monkeypatch.setitem(libraries, "s3", Evil)
    with unchanged(store), pytest.raises(DownloadFailed, match="name"):
        sources.fetch("s3://bucket/models/iris")
    assert not (store.parent / "evil").exists()


def test_an_object_that_gets_shorter_is_not_kept(
    sources: Sources, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shrinking(Bucket):
        def info(self, path: str, **options: Any) -> dict[str, Any]:
            return {**super().info(path, **options), "size": len(FILE) + 1}

    monkeypatch.setitem(libraries, "s3", Shrinking)
    with unchanged(store), pytest.raises(DownloadFailed, match="broke off"):
        sources.fetch("s3://bucket/x.mar")


@pytest.mark.parametrize("step", ["info", "open", "read"])
def test_a_library_that_fails_is_a_download_that_failed(
    sources: Sources, store: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClientError(Exception):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise ClientError("(403) key AKIA123 at /home/operator/.aws")

    monkeypatch.setitem(libraries, "s3", failing(step, fail))
    with unchanged(store), pytest.raises(DownloadFailed, match="refused it") as failed:
        sources.fetch("s3://bucket/x.mar")
    assert "AKIA" not in failed.value.message


@pytest.mark.parametrize("step", ["info", "open", "read"])
def test_a_library_that_hangs_is_left_behind(
    sources: Sources, store: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        released.wait(PATIENCE)

    monkeypatch.setitem(libraries, "s3", failing(step, hang))
    try:
        with unchanged(store), pytest.raises(DownloadFailed, match="too long"):
            replace(sources, budget=Budget(seconds=0.3)).fetch("s3://bucket/x.mar")
    finally:
        released.set()


def failing(step: str, function: Any) -> type[Bucket]:
    class Failing(Bucket):
        def open(self, *arguments: Any, **options: Any) -> Any:
            file = super().open(*arguments, **options)
            if step == "read":
                file.read = function
            return file

    if step != "read":
        setattr(Failing, step, function)
    return Failing


@pytest.mark.parametrize(
    ("url", "lacking", "extra"),
    [
        ("memory://bucket/x.mar", "fsspec", "remote"),
        ("s3://bucket/x.mar", "fsspec", "s3"),
        ("s3://bucket/x.mar", "s3fs", "s3"),
        ("gs://bucket/x.mar", "gcsfs", "gs"),
        ("gcs://bucket/x.mar", "gcsfs", "gs"),
        ("az://bucket/x.mar", "adlfs", "az"),
        ("abfs://bucket/x.mar", "adlfs", "az"),
    ],
)
def test_a_library_that_is_not_there_is_named_by_its_extra(
    sources: Sources, store: Path, url: str, lacking: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, lacking, None)
    with unchanged(store), pytest.raises(Unsupported, match=rf"dragoman\[{extra}\]"):
        sources.fetch(url)


def test_a_wrong_digest_keeps_a_folder_out(sources: Sources, store: Path) -> None:
    with unchanged(store), pytest.raises(DownloadFailed, match="SHA-256"):
        sources.fetch("memory://bucket/models/iris", digest="0" * 64)
    with unchanged(store), pytest.raises(InvalidInput, match="not a model"):
        sources.fetch("memory://bucket/models/iris", check=refuse)


def refuse(path: Path) -> None:
    raise InvalidInput("not a model")
