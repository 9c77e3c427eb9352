"""Models that are on this machine already: by their name in the store, or at a path that the rules allow.

A path is allowed if its ``file://`` URL is, both as it was written and as it is without links.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote, unquote

from dragoman.errors import DownloadFailed, RelativePath, SourceNotFound, UrlNotAllowed
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.location import Url
from dragoman.repository.sources.rules import Rules
from dragoman.repository.sources.staging import CHUNK, Staging

#: What a path may have as it is, beside letters and digits (RFC 3986: pchar and "/").
_SAFE: Final = "/!$&'()*+,;=:@~"


def find(store: Path, location: str, rules: Rules) -> Path:
    """The file or folder of that name in the store, whatever folders the name has before it (as TorchServe takes
    it), or a folder anywhere that the rules allow. Raises RelativePath and SourceNotFound."""
    if ".." in PurePosixPath(location).parts:
        raise RelativePath("the location must not have '..' in it", location)
    name = PurePosixPath(location).name
    if name.isprintable() and not name.startswith(".") and name and os.path.lexists(store / name):
        return store / name
    missing = SourceNotFound("no model is there", location)
    if not location or "\0" in location:
        raise missing
    directory = Path(location).absolute()
    try:
        rules.check_url(_url_of(directory), location)
        if directory.is_dir():
            _real(directory, location, rules)
            return directory
    except (UrlNotAllowed, OSError):  # the same answer: clients must not learn what lies elsewhere
        raise missing from None
    raise missing


def find_folder(url: Url, rules: Rules) -> Path | None:
    """The folder that a ``file://`` URL names, to be used where it lies; ``None`` where there is none."""
    path = _path_of(url)
    if not os.path.isdir(path):
        return None
    _real(path, url.text, rules)
    return path


def copy(url: Url, staging: Staging, rules: Rules, effort: Effort) -> None:
    """Bring the file that a ``file://`` URL names. Raises DownloadFailed, and UrlNotAllowed for a link elsewhere."""
    path = _path_of(url)
    try:
        # Not to be kept waiting: what is named may be a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DownloadFailed("the file can't be read", url.text) from error
    with os.fdopen(fd, "rb", buffering=0):
        status = os.fstat(fd)
        real = _real(path, url.text, rules)
        if not stat.S_ISREG(status.st_mode) or not os.path.samestat(status, os.lstat(real)):
            raise DownloadFailed("it is no file", url.text)
        staging.expect(status.st_size)
        staging.write(_chunks(fd, url.text, effort))
        if staging.size != status.st_size:
            raise DownloadFailed("the file changes while it is read", url.text)


def digest_of(path: Path, location: str, effort: Effort) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and size of a file in the store. Raises DownloadFailed."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as file:
            for chunk in _chunks(file.fileno(), location, effort):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise DownloadFailed("the file can't be read", location) from error
    return digest.hexdigest(), size


def _chunks(fd: int, location: str, effort: Effort) -> Iterator[bytes]:
    try:
        while chunk := os.read(fd, CHUNK):
            yield chunk
            effort.left()
    except TimeoutError as error:
        raise DownloadFailed("it takes too long", location) from error
    except OSError as error:
        raise DownloadFailed("the file can't be read", location) from error


def _real(path: Path, location: str, rules: Rules) -> str:
    real = os.path.realpath(path)
    rules.check_url(_url_of(real), location)
    return real


def _url_of(path: str | Path) -> str:
    return "file://" + quote(os.fsencode(path), safe=_SAFE)


def _path_of(url: Url) -> Path:
    return Path(unquote(url.path, errors="strict"))
