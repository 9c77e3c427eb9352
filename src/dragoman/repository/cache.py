"""Archives unpacked once: the digest of an archive names the directory where its files lie.

::

    <root>/<digest>/model/…       the files
    <root>/<digest>/contents.json their sizes, written last
    <root>/<digest>.lock          held while they are being written or counted

Several processes may ask for one archive at once: one unpacks, the others wait for it. An entry that is not
what its ``contents.json`` says is made anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dragoman.errors import ConfigError
from dragoman.repository.archive import Budget, model_directory, open_archive, unpack_open
from dragoman.repository.paths import InvalidArchive

CONTENTS: Final = "contents.json"


def cache_directory(kind: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The user's cache for things of one kind, made where it isn't there: ``~/.cache/dragoman/models``.

    Raises ConfigError when it can't be made, or when others could write to it and so change what is served.
    """
    hint = "set XDG_CACHE_HOME to a directory that belongs to this user"
    try:
        base = environ.get("XDG_CACHE_HOME", "")
        home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        directory = home / "dragoman" / kind
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        told = [place.stat() for place in (directory.parent, directory)]
    except (OSError, RuntimeError) as error:
        raise ConfigError("there is no place to keep unpacked models", hint=hint) from error
    if any(each.st_uid != os.geteuid() or each.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for each in told):
        raise ConfigError("the directory for unpacked models can be written by others", hint=hint)
    return directory


def unpack_cached(source: Path, root: Path, budget: Budget | None = None) -> tuple[Path, str]:
    """The model's directory in the archive ``source``, and the archive's digest (SHA-256, hexadecimal).

    Raises as ``archive.unpack`` does.
    """
    with open_archive(source) as file:
        before = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        entry = root / digest
        with locked(root / f"{digest}.lock"):
            if not _is_complete(entry):
                discard(entry)
                for staging in root.glob(f".{digest}-*"):  # of a process that was killed
                    discard(staging)
                building = root / f".{digest}-new"
                building.mkdir(mode=0o700)
                try:
                    file.seek(0)
                    unpack_open(file, building / "model", budget or Budget())
                    after = os.fstat(file.fileno())
                    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                        raise InvalidArchive(f"{source.name!r} changed while it was being read")
                    (building / CONTENTS).write_text(json.dumps(_sizes(building / "model")))
                    building.rename(entry)
                except BaseException:
                    discard(building)
                    raise
    return model_directory(entry / "model"), digest


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process (and thread) at a time. The file stays: removing it would let two in."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def discard(directory: Path) -> None:
    """Remove a directory and everything in it; nothing happens where there is none."""
    shutil.rmtree(directory, ignore_errors=True)


def _is_complete(entry: Path) -> bool:
    try:
        expected = json.loads((entry / CONTENTS).read_text())
        return all((entry / "model" / name).stat().st_size == size for name, size in expected.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sizes(directory: Path) -> dict[str, int]:
    return {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
