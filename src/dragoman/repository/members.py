"""The members of a zip or a tar, one after the other, as streams. Writes nothing and trusts nothing.

Both readers give what lies in the archive in constant memory: no header may ask for more than it is allowed.
Links, devices, sparse and encrypted members are refused here; names and sizes are the taker's to judge.
"""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from dragoman.repository.paths import InvalidArchive, shown

CHUNK: Final = 1 << 20
TAR_BLOCK: Final = 512
#: Most bytes of one extended header of a tar (a long name, pax records).
EXTENDED: Final = 1 << 16
#: Bytes of a zip's directory for each member that is allowed: 46, a name, and some extra.
DIRECTORY_ENTRY: Final = 1 << 8
ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder. ``chunks`` are a file's bytes, to be read before the next member is asked for."""

    name: str
    directory: bool
    chunks: Iterator[bytes]


class Stream(Protocol):
    """What a tar is read from, front to back."""

    def read(self, size: int, /) -> bytes: ...


def read_members(file: BinaryIO, most: int, most_bytes: int) -> Iterator[Member]:
    """The members of an archive of either kind; the first bytes tell which.

    ``most`` members and ``most_bytes`` bytes are about what is asked for at all: the taker counts exactly.
    Raises InvalidArchive for whatever is neither, or broken: also while chunks are being read.
    """
    with _as_invalid():
        magic = file.read(4)
        file.seek(0)
        if magic in ZIP_MAGIC:
            yield from _read_zip(file, most)
            return
        headers = EXTENDED + most * 4 * TAR_BLOCK
        if magic[:2] == GZIP_MAGIC:
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                yield from _read_tar(_Metered(unpacked, most_bytes + headers))
        else:
            yield from _read_tar(_Metered(file, most_bytes + headers))


@contextmanager
def _as_invalid() -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        struct.error,
    ) as error:
        raise InvalidArchive(f"the archive is damaged: {str(error)[:200] or 'it ends too early'}") from error
    except (NotImplementedError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise InvalidArchive("the archive is damaged, or of a kind that is not read") from error


def _read_zip(file: BinaryIO, most: int) -> Iterator[Member]:
    with zipfile.ZipFile(_Cautious(file, most * DIRECTORY_ENTRY)) as archive:
        for info in archive.infolist():
            name = info.orig_filename  # filename ends at a NUL
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InvalidArchive(f"the archive holds a link or a device: {shown(name)}")
            if info.flag_bits & 0x1:
                raise InvalidArchive(f"the archive is encrypted: {shown(name)}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidArchive(f"the archive is packed by a method that is not read: {shown(name)}")
            directory = name.endswith("/")
            if directory and info.file_size:
                raise InvalidArchive(f"the archive holds a folder with bytes in it: {shown(name)}")
            yield Member(name, directory, iter(()) if directory else _chunks_of_zip(archive, info))


def _chunks_of_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _as_invalid(), archive.open(info) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


class _Cautious(io.RawIOBase):
    """A file that is never read by more than ``most`` bytes at once: a zip's directory is read whole."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, max(most, CHUNK)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._most + 1) if size >= 0 else self._most + 1)
        if len(data) > self._most:
            raise InvalidArchive("the archive's directory is too large")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < 0:
            raise InvalidArchive("the archive is damaged: it points before its own beginning")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


class _Metered:
    """A stream that gives ``most`` bytes and not one more: headers and padding are bytes too."""

    def __init__(self, stream: Stream, most: int) -> None:
        self._stream, self._left = stream, most

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidArchive("the archive unpacks to too many bytes")
        return data


def _read_tar(stream: Stream) -> Iterator[Member]:
    # tarfile itself would read an extended header of any length into memory and follow pax sizes anywhere.
    name, size = "", None
    seen = False
    while (header := _read_header(stream, first=not seen)) is not None:
        seen = True
        if header.type in (
            tarfile.XHDTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
        ):
            content = _read_extended(stream, header.size)
            if header.type == tarfile.GNUTYPE_LONGNAME:
                name = content.rstrip(b"\0").decode()
                continue
            records = dict(_pax_records(content))
            if any(key.startswith("GNU.sparse") for key in records):
                raise InvalidArchive("the archive holds a sparse file")
            if header.type != tarfile.XGLTYPE:
                name = records.get("path", name)
                size = int(records["size"]) if "size" in records else size
            elif {"path", "size", "linkpath"} & records.keys():
                raise InvalidArchive("the archive names several members at once")
            continue
        name, size = name or header.name, header.size if size is None else size
        directory = header.type == tarfile.DIRTYPE
        if not directory and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
            raise InvalidArchive(f"the archive holds a link or a device: {shown(name)}")
        if size < 0 or (directory and size):
            raise InvalidArchive(f"the archive holds a member of an impossible size: {shown(name)}")
        chunks = _chunks_of_tar(stream, size)
        yield Member(name, directory, chunks)
        for _ in chunks:  # what the taker left
            pass
        name, size = "", None
    while _read(stream, CHUNK):  # to the end: a gzip's check sum comes last
        pass


def _read_header(stream: Stream, *, first: bool) -> tarfile.TarInfo | None:
    """The next header, or ``None`` at the end mark."""
    block = _read(stream, TAR_BLOCK)
    if len(block) < TAR_BLOCK and not first:
        raise InvalidArchive("the archive is damaged: it ends too early")
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if len(block) == TAR_BLOCK and not any(block):
            return None
        if first:
            raise NotAnArchive from error
        raise


class NotAnArchive(InvalidArchive):
    """Neither a zip nor a tar."""

    def __init__(self) -> None:
        # TorchServe finds no manifest in it, and says what is missing then.
        super().__init__("Model name is not defined.", hint="the file is neither a zip nor a tar")


def _read_extended(stream: Stream, size: int) -> bytes:
    if not 0 <= size <= EXTENDED:
        raise InvalidArchive("the archive holds a header that is too long")
    return b"".join(_chunks_of_tar(stream, size))


def _pax_records(content: bytes) -> Iterator[tuple[str, str]]:
    # pax: "%d %s=%s\n", the number being the length of the whole record in decimal.
    while content.rstrip(b"\0"):
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(content):
            raise InvalidArchive("the archive is damaged: a header can't be read")
        record, content = content[len(length) + 1 : int(length)], content[int(length) :]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals:
            raise InvalidArchive("the archive is damaged: a header can't be read")
        yield key.decode(), value.decode()


def _chunks_of_tar(stream: Stream, size: int) -> Iterator[bytes]:
    """The next ``size`` bytes; the padding after them is skipped."""
    with _as_invalid():
        left = size
        while left:
            chunk = _read(stream, min(left, CHUNK))
            if not chunk:
                raise EOFError
            left -= len(chunk)
            yield chunk
        padding = -size % TAR_BLOCK
        if len(_read(stream, padding)) < padding:
            raise EOFError


def _read(stream: Stream, size: int) -> bytes:
    """``size`` bytes, fewer only at the end."""
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
