"""``Storage.download``: brings a model from where it lies into a folder, as model files ask for in their ``load``.

Knows local paths, archives behind URLs, and the object stores that fsspec knows. The server's own models come another
way, under the operator's rules; this runs in a model's code and with its rights.
"""

import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from dragoman.compat.kserve.logging import logger
from dragoman.compat.need import need

MODEL_MOUNT_DIRS: Final = "/mnt/models"
#: Object stores, and the extra that brings the library of each.
_STORES: Final[Mapping[str, str]] = {
    "s3": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
}
#: What KServe's own package knows and this one doesn't.
_NOT_HERE: Final = ("hdfs", "hf", "modelscope", "oci", "webhdfs")
_SECONDS: Final = 60
_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".zip")


class Storage:
    """Where models come from."""

    @staticmethod
    def download(uri: str, out_dir: str | None = None) -> str:
        """The folder where the model now is: ``out_dir``, made if need be; without one a new folder, or, of a local
        path, that path itself. Local files are linked into ``out_dir``, archives behind URLs are unpacked.

        Raises RuntimeError for what is not there or not known, ImportError where an extra is missing.
        """
        scheme = urlsplit(uri).scheme
        path = _local(uri)
        if path is not None:
            return _link(path, out_dir)
        if scheme in _NOT_HERE or scheme not in {"http", "https", *_STORES}:
            raise RuntimeError(_unknown(uri))
        into = out_dir or tempfile.mkdtemp(prefix="model-")
        Path(into).mkdir(parents=True, exist_ok=True)
        logger.info("Copying contents of %s to %s", uri, into)
        if scheme in {"http", "https"}:
            _download(uri, Path(into))
        else:
            _copy(uri, scheme, into)
        return into

    @staticmethod
    def download_files(uris: list[str], out_dirs: list[str]) -> list[str]:
        """``download`` for each, into the folder at the same place."""
        return [Storage.download(uri, into) for uri, into in zip(uris, out_dirs, strict=True)]


def _local(uri: str) -> Path | None:
    """The path that a URI without a network is; ``None`` if it has one. Raises RuntimeError where nothing is."""
    scheme = urlsplit(uri).scheme
    path = Path(unquote(urlsplit(uri).path)) if scheme == "file" else Path(uri)
    if path.exists():
        return path
    if scheme in {"", "file"}:
        raise RuntimeError(f"Local path {uri} does not exist.")
    return None


def _link(path: Path, out_dir: str | None) -> str:
    if out_dir is None:
        return str(path)
    into = Path(out_dir)
    into.mkdir(parents=True, exist_ok=True)
    for found in sorted(path.iterdir()) if path.is_dir() else [path]:
        link = into / found.name
        link.unlink(missing_ok=True)
        link.symlink_to(found.resolve())
    return out_dir


def _download(url: str, into: Path) -> None:
    name = Path(unquote(urlsplit(url).path)).name
    if not name:
        raise RuntimeError(f"No filename contained in URI: {url}")
    with urlopen(url, timeout=_SECONDS) as answer, tempfile.NamedTemporaryFile(suffix=name) as file:
        shutil.copyfileobj(answer, file)
        file.flush()
        if not name.endswith(_ARCHIVES):
            shutil.copyfile(file.name, into / name)
        elif zipfile.is_zipfile(file.name):
            with zipfile.ZipFile(file.name) as archive:
                archive.extractall(into)
        else:
            _untar(file.name, into, url)


def _untar(file: str, into: Path, url: str) -> None:
    """Unpack files and folders that stay inside of ``into``; anything else is refused, before anything is written."""
    try:
        with tarfile.open(file) as archive:
            members = archive.getmembers()
            for member in members:
                inside = (into / member.name).resolve().is_relative_to(into.resolve())
                if not inside or not (member.isfile() or member.isdir()):
                    raise RuntimeError(
                        f"{url} can't be unpacked: {member.name} is a link, a device, or outside of it"
                    )
            for member in members:
                _write(archive, member, into / member.name)
    except tarfile.TarError as error:
        raise RuntimeError(f"{url} can't be unpacked: {error}") from None


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    data = archive.extractfile(member)
    if data is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with data, path.open("wb") as file:
        shutil.copyfileobj(data, file)


def _copy(uri: str, scheme: str, into: str) -> None:
    """Copy an object, or all of those below it."""
    whose = f"a model at {scheme}://"
    core: Any = need("fsspec.core", whose, f"fsspec (the extra dragoman[{_STORES[scheme]}])")
    try:
        store, path = core.url_to_fs(uri)
    except ImportError as error:
        raise ImportError(f"{whose} needs the extra dragoman[{_STORES[scheme]}]: {error}") from None
    if not store.exists(path):
        raise RuntimeError(f"Failed to fetch model. No model found in {uri}.")
    if store.isdir(path):
        store.get(path.rstrip("/") + "/", into + os.sep, recursive=True)
    else:
        store.get(path, str(Path(into) / Path(path).name))


def _unknown(uri: str) -> str:
    known = ", ".join(f"{scheme}://" for scheme in ("file", "http", "https", *_STORES))
    return (
        f"Cannot recognize storage type for {uri}: known are local paths and {known}."
        " Fetch it before the server starts, with KServe's storage initializer"
    )
