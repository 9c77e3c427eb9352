"""A model's archive, unpacked into a directory of its own, or not at all.

Knows zips and tars, limits and the places where files may land; nothing of what they mean. Files are streamed
into a staging directory beside the goal, which gets its name when everything is there. Nothing in an archive
can name a place outside of it: names are checked (``paths``), and files are made one by one below open
directories, never through a link and never over another file.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from dragoman.repository.members import Member, NotAnArchive, read_members
from dragoman.repository.paths import InvalidArchive, fold, shown, split_path

MANIFEST: Final = ("MAR-INF", "MANIFEST.json")
SUFFIXES: Final = (".mar", ".tar.gz", ".tgz", ".model")
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much an archive may unpack to. ``ratio`` counts unpacked bytes for each packed one, beyond ``free``."""

    files: int = 20_000
    file_bytes: int = 256 * GIB
    total_bytes: int = 512 * GIB
    ratio: int = 200
    free: int = GIB // 8
    depth: int = 32

    def most_bytes(self, packed: int) -> int:
        """What an archive of ``packed`` bytes may unpack to."""
        return min(self.total_bytes, max(self.free, packed * self.ratio))


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of a model's archive; what lies in it is not looked at."""
    return path.name.lower().endswith(SUFFIXES)


def is_unpacked(directory: Path) -> bool:
    """Whether the directory is what an archive of a model holds."""
    return directory.joinpath(*MANIFEST).is_file()


def holds_manifest(source: Path, budget: Budget | None = None) -> bool:
    """Whether the file is an archive with a model's manifest in it, or one too damaged to tell.

    Reads it to the end if it must, and writes nothing.
    """
    budget = budget or Budget()
    try:
        with open_archive(source) as file:
            most = budget.most_bytes(os.fstat(file.fileno()).st_size)
            for member in read_members(file, budget.files, most):
                if split_path(member.name, budget.depth)[-2:] == MANIFEST:
                    return True
    except NotAnArchive:
        return False
    except InvalidArchive:
        return True
    return False


def unpack(source: Path, into: Path, budget: Budget | None = None) -> Path:
    """Unpack a zip or a tar into the new directory ``into``; returns the model's directory, it or one in it.

    Raises InvalidArchive for an archive that is not fit, and OSError when the disk is not: nothing is left then.
    """
    with open_archive(source) as file:
        return unpack_open(file, into, budget or Budget())


def open_archive(source: Path) -> BufferedReader:
    """The file, open for reading; InvalidArchive for what is no file (a pipe would be waited for)."""
    file = os.fdopen(os.open(source, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidArchive(f"{source.name!r} is no file")
    return file


def unpack_open(file: BinaryIO, into: Path, budget: Budget) -> Path:
    """As ``unpack``, from an open file."""
    packed = os.fstat(file.fileno()).st_size
    if not packed:
        raise NotAnArchive
    if into.exists():
        raise FileExistsError(f"{into.name} exists")
    staging = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        with _Tree(staging, packed, budget) as tree:
            tree.write(read_members(file, budget.files, tree.most))
        staging.rename(into)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return model_directory(into)


def model_directory(unpacked: Path) -> Path:
    """Where the manifest lies: at the root, or, as in a ``.tar.gz``, in the only folder there is."""
    entries = list(unpacked.iterdir())
    if not is_unpacked(unpacked) and len(entries) == 1 and entries[0].is_dir():
        return entries[0]
    return unpacked


class _Tree:
    """Writes members below one open directory, within a budget."""

    def __init__(self, root: Path, packed: int, budget: Budget) -> None:
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self._budget = budget
        self.most = budget.most_bytes(packed)
        self._members = self._written = 0
        # What there is by its folded name: how it is spelled, and whether it is a folder.
        self._made: dict[tuple[str, ...], tuple[tuple[str, ...], bool]] = {}

    def __enter__(self) -> "_Tree":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def write(self, members: Iterable[Member]) -> None:
        for member in members:
            self._members += 1
            if self._members > self._budget.files:
                raise InvalidArchive(f"the archive holds more than {self._budget.files} files")
            parts = split_path(member.name, self._budget.depth)
            if member.directory:
                os.close(self._directory(parts))
            elif parts:
                self._file(parts, member)
            else:
                raise InvalidArchive(f"the archive holds a name that can't be a file's: {shown(member.name)}")

    def _directory(self, parts: tuple[str, ...]) -> int:
        """An open descriptor of the directory, made where it isn't there."""
        fd = os.dup(self._fd)
        try:
            for end, part in enumerate(parts, start=1):
                if self._claim(parts[:end], directory=True):
                    os.mkdir(part, 0o755, dir_fd=fd)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = inner
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _file(self, parts: tuple[str, ...], member: Member) -> None:
        directory = self._directory(parts[:-1])
        try:
            self._claim(parts, directory=False)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(parts[-1], flags, 0o644, dir_fd=directory), "wb") as file:
                size = 0
                for chunk in member.chunks:
                    size += len(chunk)
                    self._written += len(chunk)
                    self._check(size)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        finally:
            os.close(directory)

    def _claim(self, parts: tuple[str, ...], *, directory: bool) -> bool:
        """Whether the name is new. Raises InvalidArchive when it is taken by a file, or spelled otherwise."""
        taken = self._made.get(fold(parts))
        if taken is None:
            self._made[fold(parts)] = (parts, directory)
            return True
        if directory and taken == (parts, True):
            return False
        raise InvalidArchive(f"the archive holds two members of one name: {shown('/'.join(parts))}")

    def _check(self, size: int) -> None:
        if size > self._budget.file_bytes:
            raise InvalidArchive(f"the archive holds a file of more than {self._budget.file_bytes} bytes")
        if self._written > self.most:
            raise InvalidArchive(f"the archive unpacks to more than {self.most} bytes")
