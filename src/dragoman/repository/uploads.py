"""Models' files that came with a request to load them: in a private folder, until nothing made of them runs.

Knows names and bytes, nothing of what they mean.

::

    <root>/.upload-x7k2/1/iris/1/model.onnx    this server's folder, this upload's, the model's, its version's
    <root>/uploads.lock                        held while a folder is made and locked

A server's folder is locked while it runs; one that a killed server has left is removed by the next.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dragoman.errors import ConfigError, StorageFailed, TooLarge
from dragoman.repository.cache import discard, locked
from dragoman.repository.paths import InvalidArchive, fold, shown, split_path
from dragoman.repository.sources.staging import sweep, try_lock

PREFIX: Final = ".upload-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many files one upload may have, how deep in folders, and how many bytes all that are kept may have."""

    files: int = 1_000
    depth: int = 8
    bytes: int = 4 << 30


class Upload:
    """The files of one model. There until it has been released as often as it was held; held once to begin with."""

    def __init__(self, folder: Path, size: int, gone: Callable[["Upload"], None]) -> None:
        self.folder = folder  #: called what the model is called
        self.size = size
        self._gone = gone
        self._holders = 1
        self._lock = threading.Lock()

    def hold(self) -> None:
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """The last one removes the files, which may take a moment."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
        self._gone(self)


class Uploads:
    """All uploads of a server. ``root`` tells where they may be kept, when there is one. For any thread."""

    def __init__(self, root: Callable[[], Path], budget: Budget | None = None) -> None:
        self._root = root
        self._budget = budget or Budget()
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._held: int | None = None
        self._count = self._size = 0

    def stage(self, name: str, files: Mapping[str, bytes]) -> Upload:
        """Write a model's files, by their paths below the model's folder.

        Raises ConfigError for a path that leads out of it or that two files share, TooLarge beyond the budget, and
        StorageFailed when the disk can't keep them. Nothing is left then.
        """
        places = check_paths(files, self._budget)
        upload = self._claim(name, sum(map(len, files.values())))
        try:
            for parts, content in zip(places, files.values(), strict=True):
                _write(upload.folder, parts, content)
        except BaseException as error:
            upload.release()
            if isinstance(error, OSError):
                raise StorageFailed(f"the model's files can't be kept: {error.strerror}") from error
            raise
        return upload

    def close(self) -> None:
        """Remove everything: nothing made of it runs any more."""
        with self._lock:
            if self._folder is not None:
                discard(self._folder)
            if self._held is not None:
                os.close(self._held)
            self._folder = self._held = None

    def _claim(self, name: str, size: int) -> Upload:
        with self._lock:
            if self._size + size > self._budget.bytes:
                raise TooLarge(
                    f"models that came with requests may have {self._budget.bytes} bytes in all:"
                    " unload one of them first"
                )
            try:
                folder = self._begin() / str(self._count + 1) / name
                folder.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise StorageFailed(f"the model's files can't be kept: {error.strerror}") from error
            self._count += 1
            self._size += size
        return Upload(folder, size, self._remove)

    def _begin(self) -> Path:
        if self._folder is None:
            root = self._root()
            with locked(root / "uploads.lock"):
                sweep(root, PREFIX)
                self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
                self._held = try_lock(self._folder)
        return self._folder

    def _remove(self, upload: Upload) -> None:
        discard(upload.folder.parent)
        with self._lock:
            self._size -= upload.size


def check_paths(files: Mapping[str, object], budget: Budget) -> list[tuple[str, ...]]:
    """Where each file lies below the model's folder, name by name. Raises ConfigError and TooLarge."""
    if len(files) > budget.files:
        raise TooLarge(f"a model may come with {budget.files} files, got {len(files)}")
    places: list[tuple[str, ...]] = []
    taken: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = set()
    for name in files:
        try:
            parts = split_path(name, budget.depth)
        except InvalidArchive:
            parts = ()
        if not parts or name.endswith("/"):
            raise ConfigError(f"{shown(name)} is no path of a file below the model's folder")
        folded = fold(parts)
        above = {folded[:end] for end in range(1, len(folded))}
        if folded in taken | folders or above & taken:
            raise ConfigError(f"two files can't both be there: one of them is {shown(name)}")
        taken.add(folded)
        folders |= above
        places.append(parts)
    return places


def _write(folder: Path, parts: tuple[str, ...], content: bytes) -> None:
    path = folder.joinpath(*parts)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The folder is new and nobody else's: there is no link in it, and it must stay so.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
