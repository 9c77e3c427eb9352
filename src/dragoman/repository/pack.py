"""Model archives made: the same files under the same names as torch-model-archiver makes them.

The counterpart of ``archive`` and ``manifest``. Archives of the same files are the same bytes but for the time
in their manifest, which ``SOURCE_DATE_EPOCH`` fixes.
"""

import glob
import gzip
import io
import json
import logging
import os
import re
import secrets
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from dragoman.errors import ConfigError
from dragoman.repository.archive import MANIFEST
from dragoman.repository.paths import fold, split_path

log = logging.getLogger("dragoman.repository")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")
RUNTIMES: Final = ("python", "python3", "LSP")
SUFFIXES: Final[Mapping[str, str]] = {
    "default": ".mar",
    "zip-store": ".mar",
    "tgz": ".tar.gz",
    "no-archive": "",
}
#: The release of torch-model-archiver whose archives these are.
ARCHIVER_VERSION: Final = "0.12.0"
#: Handlers that come with the server: no file is packed for them.
HANDLERS: Final = frozenset(
    {
        "base_handler",
        "text_classifier",
        "image_classifier",
        "object_detector",
        "image_segmenter",
        "dali_image_classifier",
        "vllm_handler",
        "trt_llm_handler",
    }
)
LSP_HANDLERS: Final = frozenset({"BaseHandler", "TorchScriptHandler"})
UNWANTED: Final = frozenset({"__MACOSX", "__pycache__"})
CHUNK: Final = 1 << 20
ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What goes into an archive: paths as they were typed, empty where there are none."""

    model_name: str
    version: str
    handler: str
    serialized_file: str = ""
    model_file: str = ""
    extra_files: str = ""  #: files, folders and patterns, with commas between them
    runtime: str = "python"
    requirements_file: str = ""
    config_file: str = ""


def pack(
    contents: Contents, export_path: Path, archive_format: str = "default", *, force: bool = False
) -> Path:
    """Write the archive (or, for "no-archive", the folder) into ``export_path``; returns its path.

    Raises ConfigError for what can't be packed, before anything is written.
    """
    if NAME.fullmatch(contents.model_name) is None:
        raise ConfigError(
            "Model name contains special characters.\n"
            f"The allowed regular expression filter for model name is: ^{NAME.pattern}$"
        )
    if not export_path.is_dir():
        raise ConfigError(
            f"Given export-path {export_path} is not a directory. Point to a valid export-path directory."
        )
    target = export_path / f"{contents.model_name}{SUFFIXES[archive_format]}"
    if target.exists():
        if not force or target.is_dir() is not (archive_format == "no-archive"):
            raise ConfigError(
                f"{target} already exists.",
                hint="use --force to write over it" if not force else "it is not what is to be written",
            )
        log.warning("writing over what is there", extra={"file": target.name})
    manifest = manifest_of(contents)
    try:
        files = dict(sorted(gather(contents).items()))
        if archive_format == "no-archive":
            _write_folder(target, files, manifest)
        else:
            write = _write_tar if archive_format == "tgz" else _write_zip
            with _replacing(target) as file:
                write(file, contents.model_name, files, manifest, stored=archive_format == "zip-store")
    except OSError as error:
        raise ConfigError(f"can't pack {error.filename or target.name}: {error.strerror}") from error
    return target


def manifest_of(contents: Contents) -> bytes:
    """``MANIFEST.json``: keys in the archiver's order, and none for what there isn't."""
    model = {
        "modelName": contents.model_name,
        "serializedFile": _base(contents.serialized_file),
        "handler": _base(contents.handler),
        "modelFile": _base(contents.model_file),
        "modelVersion": contents.version,
        "requirementsFile": _base(contents.requirements_file),
        "configFile": _base(contents.config_file),
    }
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = time.gmtime(int(epoch)) if epoch.isdigit() else time.localtime()
    document = {
        "createdOn": time.strftime("%d/%m/%Y %H:%M:%S", now),
        "runtime": contents.runtime,
        "model": {key: value for key, value in model.items() if value or key == "handler"},
        "archiverVersion": ARCHIVER_VERSION,
    }
    return json.dumps(document, indent=2).encode()


def gather(contents: Contents) -> dict[str, Path]:
    """Where each file of the archive comes from, by its name in there. Later ones win, as they do upstream."""
    found: dict[str, Path] = {}
    places = {
        "--model-file": contents.model_file,
        "--serialized-file": contents.serialized_file,
        "--handler": handler_file(contents.handler, contents.runtime),
        "--extra-files": contents.extra_files,
        "--requirements-file": contents.requirements_file,
        "--config-file": contents.config_file,
    }
    for flag, typed in places.items():
        files = _extra(typed) if flag == "--extra-files" else _single(typed, flag)
        for name, path in files:
            if name in found and not found[name].samefile(path):
                log.warning("two files have one name in the archive; the last wins", extra={"file": name})
            found[name] = path
    found.pop("/".join(MANIFEST), None)  # of an archive that was unpacked: it gets a new one
    _check_names(found)
    return found


def handler_file(handler: str, runtime: str) -> str:
    """The file that ``module[.py][:function]`` means, and none for a handler that the server has."""
    path, _, _ = handler.partition(":")
    if runtime == "LSP":
        return "" if handler in LSP_HANDLERS else f"{path}.so"
    if handler in HANDLERS:
        return ""
    return path if ".py" in path else f"{path}.py"


def _base(path: str) -> str:
    return os.path.basename(path)


def _single(typed: str, flag: str) -> Iterator[tuple[str, Path]]:
    if not typed:
        return
    path = Path(typed)
    if not path.is_file():
        raise ConfigError(f"there is no file {typed!r} ({flag})")
    yield path.name, path


def _extra(typed: str) -> Iterator[tuple[str, Path]]:
    for piece in filter(None, (piece.strip() for piece in typed.split(","))):
        if Path(piece).exists():
            places = [piece]
        elif glob.has_magic(piece):
            places = sorted(glob.glob(piece))
            if not places:
                log.warning("a pattern of --extra-files matches nothing", extra={"pattern": piece})
        else:
            raise ConfigError(f"there is no file {piece!r} (--extra-files)")
        for place in map(Path, places):
            if place.is_dir():
                yield from _inside(place, "", ())
            elif place.is_file():
                yield place.name, place
            else:
                raise ConfigError(f"{str(place)!r} is neither a file nor a folder (--extra-files)")


def _inside(directory: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """The files of a folder, which is merged into the archive's root. Links are followed."""
    real = directory.resolve()
    if real in above:
        raise ConfigError(f"{str(directory)!r} is a link to a folder around it (--extra-files)")
    for path in sorted(directory.iterdir()):
        if path.is_file():
            yield prefix + path.name, path
        elif path.is_dir() and path.name not in UNWANTED and not path.name.startswith("."):
            yield from _inside(path, f"{prefix}{path.name}/", (*above, real))


def _check_names(files: Mapping[str, Path]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name in files:
        parts = split_path(name)
        for end in range(1, len(parts) + 1):
            there = seen.setdefault(fold(parts[:end]), "/".join(parts[:end]))
            if there != "/".join(parts[:end]):
                raise ConfigError(f"{there!r} and {name!r} would be one file on other machines; rename one")


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file that takes the target's name when it is whole."""
    making = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    try:
        with making.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        making.replace(target)
    except BaseException:
        making.unlink(missing_ok=True)
        raise


def _write_zip(
    file: BinaryIO, name: str, files: Mapping[str, Path], manifest: bytes, *, stored: bool
) -> None:
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", method) as archive:
        for member, source, size in _members(files, manifest):
            info = zipfile.ZipInfo(member, ZIP_EPOCH)
            info.compress_type, info.file_size, info.external_attr = method, size, 0o100644 << 16
            with source, archive.open(info, "w") as writer:
                shutil.copyfileobj(source, writer, CHUNK)


def _write_tar(
    file: BinaryIO, name: str, files: Mapping[str, Path], manifest: bytes, *, stored: bool
) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for member, source, size in _members(files, manifest):
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size, info.mode = size, 0o644
            with source:
                archive.addfile(info, source)


def _write_folder(target: Path, files: Mapping[str, Path], manifest: bytes) -> None:
    """Into what is there, if something is: other files of the folder stay, as they do upstream."""
    for name, source in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not (place.exists() and place.samefile(source)):
            with source.open("rb") as reader, _replacing(place) as writer:
                shutil.copyfileobj(reader, writer, CHUNK)
    place = target.joinpath(*MANIFEST)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(place) as writer:
        writer.write(manifest)


def _members(files: Mapping[str, Path], manifest: bytes) -> Iterator[tuple[str, BinaryIO, int]]:
    """Name, bytes and size of everything; the manifest comes last."""
    for name, path in files.items():
        file = path.open("rb")
        yield name, file, os.fstat(file.fileno()).st_size
    yield "/".join(MANIFEST), io.BytesIO(manifest), len(manifest)
