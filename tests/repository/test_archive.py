"""Archives unpacked, and everything that must not be."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.repository.archive import Budget, unpack
from dragoman.repository.paths import InvalidArchive, fold, split_path
from tests.repository.archives import (
    FILES,
    header,
    manifest,
    pax,
    raw_tar,
    tar_of,
    tarred,
    tarred_members,
    zipped,
    zipped_members,
)


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def refused(place: Path, content: bytes, budget: Budget | None = None) -> InvalidArchive:
    """The refusal; nothing may be left, anywhere."""
    source = place / "source" / "evil.mar"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(content)
    before = sorted(place.rglob("*"))
    with pytest.raises(InvalidArchive) as caught:
        unpack(source, place / "dest", budget)
    assert sorted(place.rglob("*")) == before
    assert str(place) not in str(caught.value) + caught.value.hint
    return caught.value


# good ones


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_unpacked_as_it_is(tmp_path: Path, method: int) -> None:
    files = {**FILES, "lib/deep/er.py": b"", "MAR-INF/MANIFEST.json": manifest()}
    (tmp_path / "a.mar").write_bytes(zipped(files, method))
    assert unpack(tmp_path / "a.mar", tmp_path / "out") == tmp_path / "out"
    assert tree(tmp_path / "out") == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mar", "out"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_the_only_folder_of_a_tar_is_the_model(tmp_path: Path, form: int) -> None:
    long = "/".join(["part" * 5] * 7) + "/file.bin"
    files = {**FILES, long: b"long", "MAR-INF/MANIFEST.json": manifest()}
    (tmp_path / "a.tar.gz").write_bytes(tarred({f"echo/{name}": file for name, file in files.items()}, form))
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "out") == tmp_path / "out" / "echo"
    assert tree(tmp_path / "out" / "echo") == files


def test_folders_points_and_names_of_other_languages_are_welcome(tmp_path: Path) -> None:
    content = tarred_members(("./", b""), ("./a/", b""), ("./a/b.txt", b"1"), ("./模型/über.bin", b"2"))
    (tmp_path / "a.tgz").write_bytes(content)
    unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a/b.txt": b"1", "模型/über.bin": b"2"}


def test_a_tar_needs_no_gzip_and_a_name_no_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(gzip.decompress(tarred(FILES)))
    unpack(tmp_path / "a.model", tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


def test_files_are_nobody_elses_to_run(tmp_path: Path) -> None:
    (tmp_path / "a.mar").write_bytes(zipped_members(("x.sh", b"#!"), mode=0o104755))
    unpack(tmp_path / "a.mar", tmp_path / "out")
    assert (tmp_path / "out" / "x.sh").stat().st_mode & 0o7111 == 0


# names

EVIL = [
    "../x",
    "/abs",
    "//abs",
    "..\\x",
    "a\\b",
    "a/../../x",
    "a/../x",
    "../dest-evil/x",
    "..",
    "a/..",
    "x\0y",
    "x\ny",
    "C:/x",
    "C:x",
    "a/c:x",
    "a" * 256,
    "/".join("a" * 40),
]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_leads_elsewhere_is_refused_in_a_zip(tmp_path: Path, name: str) -> None:
    refused(tmp_path, zipped_members(("good.txt", b""), (name, b"owned")))


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_name_that_leads_elsewhere_is_refused_in_a_tar(tmp_path: Path, name: str, form: int) -> None:
    if "\0" in name:  # where tarfile would write no more than what comes before it
        content = raw_tar(
            (header("p", len(pax(path=name)), tarfile.XHDTYPE), pax(path=name)), (header("x", 0), b"")
        )
    else:
        content = tarred_members(("good.txt", b""), (name, b"owned"), form=form)
    refused(tmp_path, content)


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("a", "A"),
        ("a/x", "A/y"),
        ("a", "a/x"),
        ("a/x", "a"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("a", "./a"),
        ("a/", "A/"),
        ("a", "a/"),
    ],
)
def test_two_members_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    members = [(name, b"") for name in names]
    assert "two members of one name" in str(refused(tmp_path, zipped_members(*members)))
    assert "two members of one name" in str(refused(tmp_path, tarred_members(*members)))


@settings(deadline=None)  # the first one imports, and a busy disk waits
@given(st.text(max_size=40) | st.text("./\\ab:\0", max_size=12))
def test_a_path_that_passes_stays_inside(name: str) -> None:
    try:
        parts = split_path(name)
    except InvalidArchive:
        return
    assert os.path.normpath("/".join(["/root", *parts])).startswith("/root/") or not parts
    assert not {"", ".", ".."} & set(parts)
    assert "/".join(parts) == os.path.normpath(name) or not parts
    assert split_path("/".join(parts) or ".") == parts
    assert fold(parts) == fold(tuple(part.swapcase().swapcase() for part in fold(parts)))


# kinds of members


@pytest.mark.parametrize(
    ("type_", "linkname"),
    [
        (tarfile.SYMTYPE, "/tmp"),
        (tarfile.SYMTYPE, "good.txt"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (b"S", ""),
        (b"K", ""),
        (b"Z", ""),
    ],
)
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, type_: bytes, linkname: str) -> None:
    refused(tmp_path, tar_of(type_, "evil", linkname))


@pytest.mark.parametrize("kind", [0o120000, 0o010000, 0o020000, 0o060000, 0o140000])
def test_links_and_devices_of_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    content = zipped_members(("evil", b"/tmp"), mode=kind | 0o777)
    assert "link or a device" in str(refused(tmp_path, content))


def test_encrypted_and_exotic_zips_are_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"x": b"secret"}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    assert "encrypted" in str(refused(tmp_path, bytes(content)))
    assert "method" in str(refused(tmp_path, zipped({"x": b"x"}, zipfile.ZIP_LZMA)))


def test_a_folder_with_bytes_is_refused(tmp_path: Path) -> None:
    assert "folder with bytes" in str(refused(tmp_path, zipped_members(("a/", b"x"))))
    assert "impossible size" in str(refused(tmp_path, raw_tar((header("a", 1, tarfile.DIRTYPE), b"x"))))


# limits


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    files = {f"{number}": b"" for number in range(11)}
    budget = Budget(files=10)
    assert "more than 10 files" in str(refused(tmp_path, zipped(files), budget))
    assert "more than 10 files" in str(refused(tmp_path, tarred(files), budget))


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    files = {"a": os.urandom(600), "b": os.urandom(600)}
    for make in (zipped, tarred):
        assert "file of more than 500" in str(refused(tmp_path, make(files), Budget(file_bytes=500)))
        assert "unpacks to more than 1000" in str(refused(tmp_path, make(files), Budget(total_bytes=1000)))


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, make) -> None:
    bomb = make({"zeros": bytes(8 << 20)})
    assert len(bomb) < 20_000
    assert "unpacks to more than" in str(refused(tmp_path, bomb, Budget(free=1 << 20)))
    (tmp_path / "bomb.mar").write_bytes(bomb)
    unpack(tmp_path / "bomb.mar", tmp_path / "small")


def test_members_of_a_zip_that_share_their_bytes_count_each_time(tmp_path: Path) -> None:
    # Overlapping members: one deflated stream, named many times in the directory.
    content = zipped({"a": bytes(1 << 20)})
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[start:end]
    many = b"".join(entry.replace(b"a", bytes([97 + number])) for number in range(20))
    tail = bytearray(content[end:])
    tail[8:12] = (20).to_bytes(2, "little") * 2
    tail[12:16] = len(many).to_bytes(4, "little")
    refused(tmp_path, content[:start] + many + bytes(tail), Budget(free=4 << 20, ratio=1))


def test_headers_of_a_tar_may_not_ask_for_more_than_a_header(tmp_path: Path) -> None:
    for type_ in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        content = raw_tar((header("x", 1 << 17, type_), bytes(1 << 17)))
        assert "header that is too long" in str(refused(tmp_path, content))
    endless = raw_tar(*[(header("x", 1 << 16, tarfile.XHDTYPE), bytes(1 << 16))] * 100)
    assert "too many bytes" in str(refused(tmp_path, endless, Budget(files=10, free=1 << 20)))
    trailing = gzip.compress(bytes(8 << 20))
    assert "too many bytes" in str(refused(tmp_path, trailing, Budget(files=10, free=1 << 20)))


def test_a_zips_directory_may_not_be_read_whole_when_it_is_too_large(tmp_path: Path) -> None:
    content = zipped({f"{number:05}" + "n" * 200: b"" for number in range(6000)})
    assert "directory is too large" in str(refused(tmp_path, content, Budget(files=10)))


@pytest.mark.parametrize(
    "records",
    [
        b"9 path=x",
        b"x path=x\n",
        b"99 path=x\n",
        b"0 a=b\n",
        b"3 \n",
        pax(size="-1"),
        pax(size="x"),
        pax(size="9" * 30),
        b"12 path=\xff\xff\xff\n",
    ],
)
def test_pax_records_that_make_no_sense_are_refused(tmp_path: Path, records: bytes) -> None:
    refused(tmp_path, raw_tar((header("p", len(records), tarfile.XHDTYPE), records), (header("x", 0), b"")))


def test_a_pax_header_for_all_may_comment_but_not_name(tmp_path: Path) -> None:
    for records, fits in ((pax(comment="made by git"), True), (pax(path="x"), False)):
        content = raw_tar((header("p", len(records), tarfile.XGLTYPE), records), (header("x", 1), b"1"))
        if fits:
            (tmp_path / "a.tgz").write_bytes(content)
            unpack(tmp_path / "a.tgz", tmp_path / "out")
            assert tree(tmp_path / "out") == {"x": b"1"}
        else:
            refused(tmp_path, content)
    sparse = pax(**{"GNU.sparse.size": "1"})
    refused(tmp_path, raw_tar((header("p", len(sparse), tarfile.XHDTYPE), sparse), (header("x", 0), b"")))


# damage

WHOLE = {"handler.py": b"x" * 3000, "weights.pt": os.urandom(3000), "MAR-INF/MANIFEST.json": manifest()}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, make) -> None:
    whole = make(WHOLE)
    for point in sorted({*range(0, len(whole), max(1, len(whole) // 64)), *range(1, 40), len(whole) - 1}):
        refused(tmp_path, whole[:point])


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_with_a_flipped_bit_is_refused_or_the_same(tmp_path: Path, make) -> None:
    whole = make(WHOLE)
    for number, point in enumerate(range(0, len(whole), len(whole) // 150)):
        damaged = bytearray(whole)
        damaged[point] ^= 0x10
        (tmp_path / "a.mar").write_bytes(damaged)
        out = tmp_path / str(number)
        try:
            unpack(tmp_path / "a.mar", out)
        except InvalidArchive:
            assert not out.exists()
        else:  # a bit that carries no content: a time, an attribute, a name
            assert sorted(tree(out).values()) == sorted(WHOLE.values())
    assert not list(tmp_path.glob(".*"))


def test_a_wrong_check_sum_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"content" * 9}, zipfile.ZIP_STORED))
    content[content.index(b"content")] ^= 1
    assert "Bad CRC-32" in str(refused(tmp_path, bytes(content)))
    content = bytearray(tarred(WHOLE))
    content[-8] ^= 1
    assert "damaged" in str(refused(tmp_path, bytes(content)))


@settings(deadline=None)  # the first one imports, and a busy disk waits
@given(st.binary(max_size=600), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\x00"]))
def test_no_bytes_do_anything_but_fail(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, magic: bytes
) -> None:
    place = tmp_path_factory.mktemp("junk")
    (place / "a.mar").write_bytes(magic + junk)
    try:
        unpack(place / "a.mar", place / "out")
    except InvalidArchive:
        assert [path.name for path in place.iterdir()] == ["a.mar"]


@pytest.mark.parametrize(
    "content", [b"", b"not a zip\n", b"<html>" * 1000, b"\x89PNG\r\n\x1a\n" + bytes(2000)]
)
def test_what_is_no_archive_has_no_models_name_in_it(tmp_path: Path, content: bytes) -> None:
    assert str(refused(tmp_path, content)) == "Model name is not defined."


def test_a_zip_behind_something_else_is_no_archive(tmp_path: Path) -> None:
    refused(tmp_path, b"#!/bin/sh\n" + zipped(FILES))


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mar")
    with pytest.raises(InvalidArchive, match="is no file"):
        unpack(tmp_path / "pipe.mar", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "none.mar", tmp_path / "out")


def test_nothing_is_unpacked_over_something(tmp_path: Path) -> None:
    (tmp_path / "a.mar").write_bytes(zipped(FILES))
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "a.mar", tmp_path / "out")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mar").write_bytes(zipped(FILES))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        unpack(tmp_path / "a.mar", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mar"]


def test_a_large_member_is_streamed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("big", "w") as member:
        for _ in range(32):
            member.write(bytes(1 << 20))
    (tmp_path / "a.mar").write_bytes(buffer.getvalue())
    unpack(tmp_path / "a.mar", tmp_path / "out")
    assert (tmp_path / "out" / "big").stat().st_size == 32 << 20
