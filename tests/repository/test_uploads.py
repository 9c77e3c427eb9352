"""Files of models that came with requests: where they may lie, how many, and how long."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError, StorageFailed, TooLarge
from dragoman.repository.uploads import PREFIX, Budget, Uploads, check_paths

EVIL = [
    "../x", "a/../../x", "..", ".", "", "/etc/passwd", "//host/x", "1/../../x", "..\\x", "1\\x", "C:x", "c:/x", "1/",
    "1/model.py\0", "1/\nmodel.py", "\u202e/..", "1/..", "./..", "1/./../../x", "a" * 300, "/".join("a" * 20), "\udcff",
    "1/C:\\x", "~/../../x", "%2e%2e/\x00",
]  # fmt: skip


def everything(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def uploads(root: Path):
    uploads = Uploads(lambda: root, Budget(files=3, depth=4, bytes=100))
    yield uploads
    uploads.close()


def test_files_lie_below_a_folder_called_as_the_model(uploads: Uploads, root: Path) -> None:
    upload = uploads.stage("m", {"1/model.py": b"code", "labels.txt": b"cat\n"})
    assert upload.folder.name == "m"
    assert upload.folder.is_relative_to(root)
    assert everything(upload.folder) == {"1/model.py": b"code", "labels.txt": b"cat\n"}
    (private,) = root.glob(f"{PREFIX}*")
    assert private.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", EVIL)
def test_a_path_that_leads_elsewhere_is_refused_and_nothing_is_written(
    uploads: Uploads, tmp_path: Path, name: str
) -> None:
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match="no path of a file below the model's folder"):
        uploads.stage("m", {"1/model.py": b"good", name: b"evil"})
    assert everything(tmp_path) == before


@given(st.lists(st.text(st.sampled_from("ab./\\~:%\0é\u202e "), max_size=12), max_size=3, unique=True))
def test_whatever_files_are_called_they_stay_below_the_folder(tmp_path_factory, names) -> None:
    root = tmp_path_factory.mktemp("root")
    uploads = Uploads(lambda: root, Budget(files=3, depth=4, bytes=100))
    try:
        upload = uploads.stage("m", dict.fromkeys(names, b"x"))
    except ConfigError:
        assert everything(root).keys() <= {"uploads.lock"}
        return
    written = [path for path in root.rglob("*") if path.is_file() and path.name != "uploads.lock"]
    assert len(written) == len(names)
    assert all(path.resolve().is_relative_to(upload.folder) for path in written)
    uploads.close()


@pytest.mark.parametrize("names", [("a", "A"), ("1", "1/model.py"), ("a/b/c", "a/B"), ("é", "e\u0301")])
def test_names_that_some_system_takes_for_one_are_refused(uploads: Uploads, names: tuple[str, str]) -> None:
    for pair in (names, names[::-1]):
        with pytest.raises(ConfigError, match="two files can't both be there"):
            uploads.stage("m", dict.fromkeys(pair, b"x"))


def test_files_are_gone_when_the_last_holder_has_let_go(uploads: Uploads, root: Path) -> None:
    upload = uploads.stage("m", {"1/model.py": b"code"})
    upload.hold()
    upload.release()
    assert upload.folder.exists()
    upload.release()
    assert everything(root).keys() == {"uploads.lock"}


def test_there_is_a_budget_for_all_and_what_is_gone_counts_no_more(uploads: Uploads) -> None:
    first = uploads.stage("a", {"1/model.py": bytes(60)})
    with pytest.raises(TooLarge, match="100 bytes in all"):
        uploads.stage("b", {"1/model.py": bytes(41)})
    uploads.stage("c", {"1/model.py": bytes(40)})
    first.release()
    uploads.stage("b", {"1/model.py": bytes(41)})
    with pytest.raises(TooLarge, match="3 files"):
        uploads.stage("d", {f"1/{n}": b"" for n in range(4)})


def test_a_disk_that_is_full_leaves_nothing(
    uploads: Uploads, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dragoman.repository.uploads.os.open", full)
        with pytest.raises(StorageFailed, match="No space left"):
            uploads.stage("m", {"1/model.py": b"code"})
    upload = uploads.stage("m", {"1/model.py": bytes(100)})
    assert everything(root).keys() == {
        "uploads.lock",
        upload.folder.relative_to(root).joinpath("1/model.py").as_posix(),
    }


def test_a_killed_servers_files_are_removed_by_the_next_and_a_living_ones_are_not(root: Path) -> None:
    left = root / f"{PREFIX}killed" / "1" / "m"
    left.mkdir(parents=True)
    living = Uploads(lambda: root)
    kept = living.stage("m", {"1/model.py": b"code"})
    next_one = Uploads(lambda: root)
    next_one.stage("m", {"1/model.py": b"code"})
    assert not left.exists()
    assert kept.folder.exists()
    next_one.close()
    living.close()
    assert os.listdir(root) == ["uploads.lock"]


def test_a_server_without_uploads_makes_no_folder(root: Path) -> None:
    Uploads(lambda: root).close()
    assert os.listdir(root) == []


def test_paths_are_cut_into_components() -> None:
    assert check_paths({"1/a/b.txt": 0, "./c": 0}, Budget()) == [("1", "a", "b.txt"), ("c",)]
