"""Files and folders of object stores (S3, Google Cloud Storage, Azure, …) by fsspec. Knows no store by itself.

Which host is asked, and who is asking, is the business of the library's own configuration: a URL names only a bucket
and a key there. Libraries are asked on a thread that is left behind when the time is up.
"""

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from dragoman.errors import DownloadFailed, DragomanError, SourceNotFound, Unsupported
from dragoman.repository.paths import InvalidArchive, split_path
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.location import OBJECT_STORES, Url
from dragoman.repository.sources.staging import Staging

log = logging.getLogger("dragoman.repository")

T = TypeVar("T")

BLOCK: Final = 8 << 20


def download(url: Url, staging: Staging, effort: Effort) -> None:
    """Bring the object, or every object below that name. Raises SourceNotFound, DownloadFailed, Unsupported where a
    library is missing, and what ``staging`` raises."""
    system = _open(url, effort)
    found = _try(url, effort, lambda: system.info(url.text))
    if found.get("type") == "directory":
        objects = _below(found["name"], _try(url, effort, lambda: system.find(url.text, detail=True)), url)
    else:
        objects = [_Object(found["name"], (), _size(found, url))]
    staging.expect(sum(each.size for each in objects))
    for each in objects:
        before = staging.size
        file = _try(url, effort, partial(system.open, each.name, "rb", cache_type="none"))
        with closing(file):
            staging.write(_chunks(file, url, effort), each.parts)
        if staging.size - before != each.size:
            raise DownloadFailed("it broke off, or changed meanwhile", url.text)


class _Object(NamedTuple):
    name: str  # in the object store
    parts: tuple[str, ...]  # in the folder that is fetched
    size: int


def _open(url: Url, effort: Effort) -> Any:
    def make() -> Any:
        fsspec = importlib.import_module("fsspec")
        # An instance of its own: a shared one remembers listings of yesterday.
        return fsspec.filesystem(url.scheme, skip_instance_cache=True)

    try:
        return _try(url, effort, make)
    except ImportError as error:
        extra = OBJECT_STORES[url.scheme]
        raise Unsupported(
            f"models from {url.scheme}:// need a Python package that is not installed: pip install 'dragoman[{extra}]'"
        ) from error


def _below(root: str, found: dict[str, dict[str, Any]], url: Url) -> list[_Object]:
    """The files of a folder. Names that no folder on a disk could hold side by side are refused."""
    prefix = root.rstrip("/") + "/"
    objects = [
        _Object(name, _parts(name.removeprefix(prefix), url), _size(info, url))
        for name, info in sorted(found.items())
        if info.get("type") != "directory"
    ]
    if not objects:
        raise SourceNotFound("no model is there", url.text)
    taken = {each.parts for each in objects}
    if any(parts[:end] in taken for parts in taken for end in range(1, len(parts))):
        raise DownloadFailed("it has a file and a folder of one name", url.text)
    return objects


def _parts(name: str, url: Url) -> tuple[str, ...]:
    try:
        parts = split_path(name)
    except InvalidArchive:
        parts = ()
    if not parts or "/".join(parts) != name:
        raise DownloadFailed("it has a file whose name can't be one here", url.text)
    return parts


def _size(info: dict[str, Any], url: Url) -> int:
    if not isinstance(info.get("size"), int):
        raise DownloadFailed("the object store doesn't say how long it is", url.text)
    return int(info["size"])


def _chunks(file: Any, url: Url, effort: Effort) -> Iterator[bytes]:
    while chunk := _try(url, effort, lambda: file.read(BLOCK)):
        yield chunk


def _try(url: Url, effort: Effort, function: Callable[[], T]) -> T:
    try:
        return effort.call(function)
    except (DragomanError, ImportError):
        raise
    except FileNotFoundError as error:
        raise SourceNotFound("no model is there", url.text) from error
    except TimeoutError as error:
        raise DownloadFailed("it takes too long", url.text) from error
    except Exception as error:  # each library has kinds of its own
        log.warning(
            "an object store refuses", extra={"url": url.shown, "reason": f"{type(error).__name__}: {error}"}
        )
        raise DownloadFailed("the object store refused it", url.text) from error
