"""``MAR-INF/MANIFEST.json`` of a model's archive. Knows what it says, not what a handler makes of it.

Keys that aren't known are kept for the handler; a known key of another type is refused, in the words that
TorchServe has for it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dragoman.repository.archive import MANIFEST
from dragoman.repository.paths import InvalidArchive, split_path

MOST_BYTES: Final = 1 << 20
DEFAULT_VERSION: Final = "1.0"
RUNTIMES: Final = ("python", "python2", "python3", "LSP")
#: Keys of "model" that name a file of the archive.
FILES: Final = ("serializedFile", "modelFile", "requirementsFile", "configFile", "sourceVocab")


@dataclass(frozen=True, slots=True)
class Manifest:
    """``document`` is the file as it stands. A ``name`` or a file that isn't given is empty."""

    name: str = ""
    version: str = DEFAULT_VERSION
    handler: str = ""
    runtime: str = "python"
    serialized_file: str = ""
    model_file: str = ""
    requirements_file: str = ""
    config_file: str = ""
    source_vocab: str = ""
    envelope: str = ""
    extensions: Mapping[str, Any] = field(default_factory=dict)
    archiver_version: str = ""
    created_on: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the model in ``directory``; one that says nothing where there is none.

    Raises InvalidArchive for a manifest that can't be read or says something impossible.
    """
    path = directory.joinpath(*MANIFEST)
    if not path.exists():
        return Manifest()
    return parse_manifest(read_limited(path, MOST_BYTES))


def parse_manifest(text: bytes) -> Manifest:
    """The manifest in a file's bytes."""
    try:
        document = json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArchive(
            "Failed to parse signature.", hint=f"{MANIFEST[-1]} is not JSON: {error}"
        ) from error
    if not isinstance(document, dict):
        raise InvalidArchive("Failed to parse signature.", hint=f"{MANIFEST[-1]} must hold one object")
    runtime = document.get("runtime", "python")
    if runtime not in RUNTIMES:
        raise InvalidArchive("Runtime is not defined or invalid.", hint=f"known: {', '.join(RUNTIMES)}")
    model = document.get("model")
    if not isinstance(model, dict):
        raise InvalidArchive("Missing Model entry in manifest file.")
    extensions = model.get("extensions")
    if not isinstance(extensions, dict | None):
        raise InvalidArchive(f"extensions must be an object in {MANIFEST[-1]}")
    files = {key: _file(model, key) for key in FILES}
    return Manifest(
        name=_text(model, "modelName"),
        version=_text(model, "modelVersion", numbers=True) or DEFAULT_VERSION,
        handler=_text(model, "handler"),
        runtime=runtime,
        serialized_file=files["serializedFile"],
        model_file=files["modelFile"],
        requirements_file=files["requirementsFile"],
        config_file=files["configFile"],
        source_vocab=files["sourceVocab"],
        envelope=_text(model, "envelope"),
        extensions=extensions or {},
        archiver_version=_text(document, "archiverVersion", numbers=True),
        created_on=_text(document, "createdOn", numbers=True),
        document=document,
    )


def read_limited(path: Path, most: int) -> bytes:
    """A small file's bytes; InvalidArchive for a large one, or one that can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InvalidArchive(f"can't read {path.name!r}: {error.strerror}") from error
    if len(content) > most:
        raise InvalidArchive(f"{path.name!r} has more than {most} bytes")
    return content


def _text(table: Mapping[str, Any], key: str, *, numbers: bool = False) -> str:
    value = table.get(key)
    if value is None:
        return ""
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or "\0" in value:
        raise InvalidArchive(f"{key} must be a text in {MANIFEST[-1]}, got {value!r}"[:150])
    return value


def _file(model: Mapping[str, Any], key: str) -> str:
    name = _text(model, key)
    if name:
        split_path(name)
    return name


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
