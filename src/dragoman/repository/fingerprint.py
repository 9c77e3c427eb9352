"""Whether files are what they were. Reads names, sizes and times, and the bytes of small files; knows no model."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Files up to this many bytes are known by their content.
SMALL: Final = 64 * 1024
#: Nanoseconds after which a further change of a file is sure to change its times.
_SETTLED: Final = 2_000_000_000
_PASSED_OVER: Final = frozenset({"__pycache__", "lost+found"})

_Times = tuple[int, int, int, int]


class Fingerprints:
    """Texts that are equal as long as files are.

    A big file is its size, its time of change and its place on the disk; a small one is the digest of its bytes,
    so that touching it changes nothing. Those bytes are read only when its size or times have changed since the
    last time: ``before`` is who looked then.
    """

    def __init__(self, before: "Fingerprints | None" = None) -> None:
        self._before: dict[str, tuple[_Times, str]] = {} if before is None else before._digests
        self._digests: dict[str, tuple[_Times, str]] = {}

    def of(self, path: Path) -> str:
        """The fingerprint of a file, or of a folder and all that lies in it; of nothing, where nothing is.

        Symbolic links are followed. Hidden files, Markdown and what Python compiles are no part of a model.
        """
        digest = hashlib.sha256()
        for line in self._lines(str(path), "", ()):
            digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()

    def _lines(self, path: str, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
        try:
            found = os.stat(path)
            if not stat.S_ISDIR(found.st_mode):
                yield f"{name} {self._file(path, found)}"
                return
            place = found.st_dev, found.st_ino
            if place in above:  # a link that leads up
                return
            yield f"{name}/"
            entries = sorted(entry for entry in os.listdir(path) if not _is_passed_over(entry))
        except OSError as error:
            yield f"{name} {error.errno}"
            return
        for entry in entries:
            yield from self._lines(os.path.join(path, entry), f"{name}/{entry}", (*above, place))

    def _file(self, path: str, found: os.stat_result) -> str:
        times = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
        if found.st_size > SMALL or not stat.S_ISREG(found.st_mode):
            return f"{found.st_size} {found.st_mtime_ns} {found.st_dev} {found.st_ino}"
        known = self._before.get(path)
        if known is None or known[0] != times:
            with open(path, "rb") as file:
                known = times, hashlib.sha256(file.read(SMALL + 1)).hexdigest()
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED:
            self._digests[path] = known
        return known[1]


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in _PASSED_OVER or name.lower().endswith((".md", ".pyc"))
