"""What is being fetched, until it is complete: a hidden folder in the store, counted, hashed, and named at the end.

Knows nothing of where bytes come from.

::

    <store>/.incoming-x7k2/iris.mar    while it is written; the folder is locked, and removed if anything fails
    <store>/iris.mar                   only when all of it has reached the disk

A folder whose lock nobody holds is what a killed process left: the next fetch removes it.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dragoman.errors import AlreadyThere, DownloadTooLarge, StorageFailed

PREFIX: Final = ".incoming-"
#: Seconds between two reports of progress.
PACE: Final = 0.1
CHUNK: Final = 1 << 20

#: Bytes that are there, and how many there will be, where that is known.
Progress = Callable[[int, int | None], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much one fetch may bring and how many seconds it may take, ``idle`` of them without a byte."""

    bytes: int = 64 << 30
    files: int = 10_000
    seconds: float = 3_600.0
    idle: float = 30.0


class Staging:
    """One file, or the files of one folder, on their way into the store under the name ``name``.

    To be used in a ``with``: what was not published when it ends is gone.
    """

    def __init__(
        self,
        store: Path,
        name: str,
        location: str,
        budget: Budget,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._goal = store / name
        self._location = location
        self._budget = budget
        self._progress = progress or (lambda done, total: None)
        self._clock = clock
        self._told = float("-inf")
        self._total: int | None = None
        self._folder: Path | None = None
        self._lock: int | None = None
        self._digests: dict[str, str] = {}
        self.size = 0

    def __enter__(self) -> "Staging":
        if os.path.lexists(self._goal):
            raise self._taken()
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            discard(self._folder)
        if self._lock is not None:
            os.close(self._lock)

    @property
    def path(self) -> Path:
        """Where it lies until it is published, under its own name already."""
        if self._folder is None:
            with self._disk():
                self._begin()
        assert self._folder is not None
        return self._folder / self._goal.name

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal: of the file; of a folder that of the lines ``sha256sum`` would write of its files."""
        if "" in self._digests:
            return self._digests[""]
        lines = (f"{digest}  {name}\n" for name, digest in sorted(self._digests.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def expect(self, total: int | None) -> None:
        """Say how many bytes will come. Raises DownloadTooLarge before the first one is asked for."""
        self._total = total
        if total is not None and total > self._budget.bytes:
            raise self._too_large()
        self._tell()

    def write(self, chunks: Iterable[bytes], parts: tuple[str, ...] = ()) -> None:
        """Write the file, or with ``parts`` the file of that path in the folder. Raises DownloadTooLarge and
        StorageFailed."""
        if len(self._digests) >= self._budget.files:
            raise DownloadTooLarge(f"it has more than {self._budget.files} files", self._location)
        path = self.path.joinpath(*parts)
        digest = hashlib.sha256()
        with self._disk():
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            for chunk in chunks:
                self.size += len(chunk)
                if self.size > self._budget.bytes:
                    raise self._too_large()
                digest.update(chunk)
                with self._disk():
                    _write_all(fd, chunk)
                self._tell()
            with self._disk():
                os.fsync(fd)
        finally:
            os.close(fd)
        self._digests["/".join(parts)] = digest.hexdigest()

    def publish(self) -> Path:
        """Give it its name in the store, on the disk for good. Raises AlreadyThere and StorageFailed."""
        staged = self.path
        self._tell(last=True)
        with self._disk():
            for folder, _, _ in os.walk(staged, topdown=False):
                sync_folder(Path(folder))
            with _locked(self._store):
                if not _move(staged, self._goal):
                    raise self._taken()
            sync_folder(self._store)
        return self._goal

    def _begin(self) -> None:
        with _locked(self._store):
            sweep(self._store, PREFIX)
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._store))
            self._lock = try_lock(self._folder)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageFailed(f"the model store can't keep it: {error.strerror}") from error

    def _tell(self, *, last: bool = False) -> None:
        now = self._clock()
        if last or now - self._told >= PACE:
            self._told = now
            self._progress(self.size, self._total)

    def _taken(self) -> AlreadyThere:
        return AlreadyThere(f"the store has a {self._goal.name} already", self._location)

    def _too_large(self) -> DownloadTooLarge:
        return DownloadTooLarge(f"it has more than {self._budget.bytes} bytes", self._location)


def discard(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _move(staged: Path, goal: Path) -> bool:
    """Never over something that is there: a link can't, where file systems have links."""
    if staged.is_file():
        try:
            os.link(staged, goal)
        except FileExistsError:
            return False
        except OSError:
            pass
        else:
            return True
    if os.path.lexists(goal):
        return False
    staged.rename(goal)
    return True


def sweep(store: Path, prefix: str) -> None:
    """Remove the folders that killed processes have left: those whose lock nobody holds."""
    for folder in store.glob(f"{prefix}*"):
        if (lock := try_lock(folder)) is not None:
            discard(folder)
            os.close(lock)


def try_lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; ``None`` when somebody else does, or it has no locks."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process (and thread) at a time, where the file system has locks for folders; NFS has none."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
