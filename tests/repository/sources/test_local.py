"""Models that are on this machine: in the store, in a folder, behind a ``file://`` URL."""

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dragoman.errors import (
    AlreadyThere,
    Cancelled,
    DownloadFailed,
    DownloadTooLarge,
    InvalidInput,
    RelativePath,
    SourceError,
    SourceNotFound,
    UrlNotAllowed,
)
from dragoman.repository.sources import Budget, Rules, Sources, parse_rules

from .hosts import listing, unchanged

OLD = hashlib.sha256(b"here before").hexdigest()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder beside the store, with a file, a model's folder, and links out of it."""
    models = tmp_path / "models"
    (models / "iris").mkdir(parents=True)
    (models / "iris" / "model.onnx").write_bytes(b"onnx")
    (models / "x.mar").write_bytes(b"archive")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "private").mkdir()
    (models / "secret.mar").symlink_to(tmp_path / "secret")
    (models / "private").symlink_to(tmp_path / "private")
    (models / "y.mar").symlink_to("x.mar")
    return models


@pytest.fixture
def open_models(store: Path, models: Path) -> Sources:
    return Sources(store, parse_rules(re.escape(f"file://{models}") + "/.*"))


@pytest.mark.parametrize("location", ["old.mar", "sub/old.mar", "/elsewhere/old.mar", "./old.mar"])
def test_a_name_is_looked_up_in_the_store(store: Path, location: str) -> None:
    with unchanged(store):
        fetched = Sources(store).fetch(location)
    assert (fetched.path, fetched.digest, fetched.size) == (store / "old.mar", OLD, 11)
    assert (fetched.source, fetched.new) == (location, False)
    fetched.discard()
    assert (store / "old.mar").exists()


@pytest.mark.parametrize("name", ["my model.mar", "modèle.mar", "~a", "a..b", "x%20y.mar", "back\\slash.mar"])
def test_whatever_the_operator_has_called_a_model_it_is_found(store: Path, name: str) -> None:
    (store / name).write_bytes(b"here before")
    assert Sources(store).fetch(name).digest == OLD


def test_a_file_in_the_store_can_be_held_to_a_digest(store: Path) -> None:
    assert Sources(store).fetch("old.mar", digest=OLD).digest == OLD
    with pytest.raises(DownloadFailed, match="SHA-256"):
        Sources(store).fetch("old.mar", digest="0" * 64)


def test_folders_and_links_of_the_store_are_the_operators(store: Path, models: Path) -> None:
    (store / "iris").symlink_to(models / "iris")
    fetched = Sources(store).fetch("iris")
    assert (fetched.path, fetched.digest, fetched.new) == (store / "iris", "", False)
    with pytest.raises(InvalidInput, match="digest"):
        Sources(store).fetch("iris", digest=OLD)


@pytest.mark.parametrize(
    "location",
    ["", ".", "/", "x.mar", "sub/x.mar", ".hidden", "old.mar/", "old.mar\0", "\0", "old.mar\n", " ", "~",
     "old.mar\\", "a" * 5_000, "/a/" + "b" * 300, "é.mar", "*", "-old.mar", "/etc", "/etc/passwd", "/proc/self",
     ".incoming-x", "link", "pipe"],
)  # fmt: skip
def test_what_is_not_in_the_store_is_not_found(store: Path, location: str) -> None:
    (store / ".hidden").write_bytes(b"")
    (store / "link").symlink_to("nowhere")
    os.mkfifo(store / "pipe")
    if location != "old.mar/":  # a path's last slash says nothing
        with unchanged_names(store), pytest.raises(SourceNotFound):
            Sources(store).fetch(location)


def unchanged_names(store: Path) -> "Names":
    return Names(store)


class Names:
    """The same names before and after: what is a pipe can't be read to compare it."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._before = sorted(os.listdir(self._store))

    def __exit__(self, *_: object) -> None:
        assert sorted(os.listdir(self._store)) == self._before


@pytest.mark.parametrize("location", ["../old.mar", "a/../old.mar", "..", "/a/..", "../../etc/passwd"])
def test_a_path_that_goes_up_is_refused_as_such(store: Path, location: str) -> None:
    with pytest.raises(RelativePath) as refused:
        Sources(store).fetch(location)
    assert refused.value.location == location


def test_a_folder_elsewhere_needs_to_be_allowed(open_models: Sources, models: Path, store: Path) -> None:
    with unchanged(store):
        assert open_models.fetch(str(models / "iris")).path == models / "iris"
        assert open_models.fetch(f"file://{models}/iris").path == models / "iris"
        with pytest.raises(SourceNotFound):
            Sources(store).fetch(str(models / "iris"))
        with pytest.raises(UrlNotAllowed):
            Sources(store).fetch(f"file://{models}/iris")


def test_a_folder_behind_a_link_is_judged_as_what_it_is(open_models: Sources, models: Path) -> None:
    with pytest.raises(SourceNotFound):
        open_models.fetch(str(models / "private"))
    with pytest.raises(UrlNotAllowed):
        open_models.fetch(f"file://{models}/private")


def test_clients_do_not_learn_which_folders_there_are(open_models: Sources, tmp_path: Path) -> None:
    messages = set()
    for location in (tmp_path / "private", tmp_path / "nothing"):
        with pytest.raises(SourceNotFound) as refused:
            open_models.fetch(str(location))
        messages.add(refused.value.message)
    assert len(messages) == 1


def test_a_file_url_brings_the_file_into_the_store(open_models: Sources, models: Path, store: Path) -> None:
    for name in ("x.mar", "y.mar"):
        fetched = open_models.fetch(f"file://{models}/{name}")
        assert (fetched.path, fetched.size, fetched.new) == (store / name, 7, True)
        assert fetched.digest == hashlib.sha256(b"archive").hexdigest()
        assert not fetched.path.is_symlink()
    with pytest.raises(AlreadyThere):
        open_models.fetch(f"file://{models}/x.mar")
    fetched.discard()
    assert (models / "y.mar").exists()
    assert sorted(listing(store)) == ["old.mar", "x.mar"]


def test_a_file_behind_a_link_is_judged_as_what_it_is(
    open_models: Sources, models: Path, store: Path
) -> None:
    with unchanged(store), pytest.raises(UrlNotAllowed):
        open_models.fetch(f"file://{models}/secret.mar")


def test_names_with_blanks_and_umlauts_are_encoded_in_a_url(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my müdels @+"
    folder.mkdir()
    (folder / "x.mar").write_bytes(b"archive")
    parent = re.escape(f"file://{tmp_path}/")
    sources = Sources(store, parse_rules(rf"{parent}my%20m%C3%BCdels%20@\+/.*"))
    assert sources.fetch(f"file://{tmp_path}/my%20m%C3%BCdels%20@+/x.mar").size == 7


@pytest.mark.parametrize("missing", ["nothing.mar", "pipe.mar", "x.mar/y.mar", "loop.mar"])
def test_what_is_no_file_can_not_be_brought(
    open_models: Sources, models: Path, store: Path, missing: str
) -> None:
    os.mkfifo(models / "pipe.mar")
    (models / "loop.mar").symlink_to("loop.mar")
    with unchanged(store), pytest.raises(DownloadFailed):
        open_models.fetch(f"file://{models}/{missing}")


def test_budgets_hold_for_files_too(open_models: Sources, models: Path, store: Path) -> None:
    with unchanged(store), pytest.raises(DownloadTooLarge):
        replace(open_models, budget=Budget(bytes=6)).fetch(f"file://{models}/x.mar")
    with unchanged(store), pytest.raises(DownloadFailed, match="too long"):
        replace(open_models, budget=Budget(seconds=0)).fetch(f"file://{models}/x.mar")


def test_a_copy_can_be_given_up(open_models: Sources, models: Path, store: Path) -> None:
    effort = open_models.effort()
    with unchanged(store), pytest.raises(Cancelled):
        open_models.fetch(f"file://{models}/x.mar", check=lambda path: effort.cancel(), effort=effort)


def test_a_file_that_grows_meanwhile_is_not_kept(
    open_models: Sources, models: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.read

    def grow(fd: int, size: int) -> bytes:
        with (models / "x.mar").open("ab") as file:
            file.write(b"!")
        monkeypatch.setattr(os, "read", read)
        return read(fd, size)

    monkeypatch.setattr(os, "read", grow)
    with unchanged(store), pytest.raises(DownloadFailed, match="changes"):
        open_models.fetch(f"file://{models}/x.mar")


def test_without_rules_nothing_comes_from_outside(store: Path, models: Path) -> None:
    for url in ("https://example.com/x.mar", f"file://{models}/x.mar", "s3://bucket/x.mar", "memory://a/x"):
        with unchanged(store), pytest.raises(UrlNotAllowed):
            Sources(store, Rules()).fetch(url)


def test_every_refusal_names_what_was_asked_for(store: Path) -> None:
    for location in ("x.mar", "../x.mar", "http://a/x.mar", "ftp://a/x.mar", "http://a@b/x.mar"):
        with pytest.raises(SourceError) as refused:
            Sources(store).fetch(location)
        assert refused.value.location == location
