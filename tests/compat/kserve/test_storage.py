"""``Storage.download`` brings models from where they lie, and nothing from where it shouldn't."""

import io
import tarfile
import zipfile

import fsspec
import pytest

from dragoman.compat.kserve import storage
from dragoman.compat.kserve.storage import Storage
from tests.compat.kserve.peers import recording


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "a model"
    (folder / "1").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "1" / "more.bin").write_bytes(b"more")
    return folder


def tar(*members):
    """An archive of files; what has no data is a folder, and what has text a link to it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            if data is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(data, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, data
            else:
                entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data) if isinstance(data, bytes) else None)
    return file.getvalue()


def zipped(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def test_a_local_path_is_where_it_is(model):
    assert Storage.download(str(model)) == str(model)
    assert Storage.download(model.as_uri()) == str(model)


def test_local_files_are_linked_into_a_folder(model, tmp_path):
    into = tmp_path / "into"
    for _ in range(2):  # the second time, too
        assert Storage.download(str(model), str(into)) == str(into)
    assert (into / "model.bin").read_bytes() == b"weights"
    assert (into / "1" / "more.bin").read_bytes() == b"more"
    assert (into / "model.bin").is_symlink()
    assert Storage.download(str(model / "model.bin"), str(tmp_path / "one")) == str(tmp_path / "one")
    assert (tmp_path / "one" / "model.bin").read_bytes() == b"weights"


def test_several_come_into_a_folder_each(model, tmp_path):
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert Storage.download_files([str(model)] * 2, folders) == folders
    assert (tmp_path / "b" / "model.bin").exists()


@pytest.mark.parametrize("uri", ["/not/there", "file:///not/there", "not-there"])
def test_what_is_not_there_is_told(uri):
    with pytest.raises(RuntimeError, match=f"Local path {uri} does not exist"):
        Storage.download(uri)


@pytest.mark.parametrize(
    ("name", "answer", "files"),
    [
        ("m.tar.gz", tar(("d", None), ("model.bin", b"w"), ("d/e", b"x")), {"model.bin": b"w", "d/e": b"x"}),
        ("m.tgz", tar(("model.bin", b"w")), {"model.bin": b"w"}),
        ("m.zip", zipped(("model.bin", b"w")), {"model.bin": b"w"}),
        ("model%20one.bin", b"as it is", {"model one.bin": b"as it is"}),
    ],
)
def test_what_is_behind_a_url_is_downloaded_and_unpacked(name, answer, files, tmp_path):
    with recording(answer=answer, content_type="application/octet-stream") as server:
        assert Storage.download(f"http://{server.host}/{name}", str(tmp_path / "into")) == str(
            tmp_path / "into"
        )
        alone = Storage.download(f"http://{server.host}/{name}")
    for folder in (tmp_path / "into", storage.Path(alone)):
        assert {path: (folder / path).read_bytes() for path in files} == files


@pytest.mark.parametrize(
    ("name", "data"), [("../escaped", b"x"), ("/tmp/escaped", b"x"), ("link", "/etc/passwd")]
)
def test_an_archive_stays_in_its_folder_and_has_no_links(name, data, tmp_path):
    answer = tar(("first", b"x"), (name, data))
    with (
        recording(answer=answer) as server,
        pytest.raises(RuntimeError, match=f"{name} is a link, a device, or outside"),
    ):
        Storage.download(f"http://{server.host}/m.tar.gz", str(tmp_path / "into"))
    assert list((tmp_path / "into").iterdir()) == []


def test_what_is_no_archive_is_told(tmp_path):
    with recording(answer=b"nothing") as server, pytest.raises(RuntimeError, match="can't be unpacked"):
        Storage.download(f"http://{server.host}/m.tar", str(tmp_path))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/", "https://127.0.0.1:1"])
def test_a_url_needs_a_file_s_name(uri):
    with pytest.raises(RuntimeError, match="No filename contained in URI"):
        Storage.download(uri)


def test_object_stores_are_copied_from(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_STORES", {"memory": "remote"})
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket/m/model.bin": b"w", "/bucket/m/1/more.bin": b"x"})
    try:
        Storage.download("memory://bucket/m", str(tmp_path / "all"))
        Storage.download("memory://bucket/m/model.bin", str(tmp_path / "one"))
        with pytest.raises(RuntimeError, match="No model found in memory://bucket/none"):
            Storage.download("memory://bucket/none", str(tmp_path / "none"))
    finally:
        store.rm("/bucket", recursive=True)
    assert (tmp_path / "all" / "model.bin").read_bytes() == b"w"
    assert (tmp_path / "all" / "1" / "more.bin").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["model.bin"]


@pytest.mark.parametrize(("uri", "extra"), [("gs://b/m", "gs"), ("az://b/m", "az"), ("abfs://b/m", "az")])
def test_a_store_whose_library_is_missing_names_the_extra(uri, extra, tmp_path):
    with pytest.raises(ImportError, match=rf"dragoman\[{extra}\]"):
        Storage.download(uri, str(tmp_path))


@pytest.mark.parametrize("uri", ["hf://org/model", "hdfs://n/m", "oci://r/m", "modelscope://m", "pvc2://x"])
def test_what_is_not_known_is_told_with_what_is(uri):
    # row: storage
    with pytest.raises(RuntimeError, match="Cannot recognize storage type") as failure:
        Storage.download(uri)
    assert "s3://" in str(failure.value)
