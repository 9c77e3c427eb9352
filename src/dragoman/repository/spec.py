"""What is known of a model before it is loaded, and how its ``model.toml`` is read.

Knows the keys of that file, not how folders are laid out and not what a runtime makes of its options.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dragoman.config import ModelSettings, model_settings, parse_toml, suggest
from dragoman.errors import ConfigError

MODEL_TOML: Final = "model.toml"
KEYS: Final = ("name", "file", "entry", "options", "inputs", "outputs")
TENSOR_KEYS: Final = ("name", "datatype", "shape", "optional", "labels", "labels_file")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
ENTRY: Final = re.compile(r"(?:(?P<module>[A-Za-z_][\w.]*|[^:\0]*\.py):)?(?P<name>[A-Za-z_]\w*)")

#: More than the names of any classes.
LABELS_BYTES: Final = 16 << 20

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One version of a model, ready to be loaded: where it lies and what the operator says of it.

    ``path`` is an absolute file or folder, or ``None`` when ``entry`` (``module:Class``) is all there is.
    ``settings.runtime`` is empty only where an entry stands without a file. ``inputs`` and ``outputs`` are
    the tables of ``model.toml`` with ``labels_file`` already read into ``labels``. ``trusted`` says that the
    operator named the place, so that formats that run code may load. ``folder`` is the model's own folder, where it
    has one: what else lies there may be part of the model.
    """

    name: str
    version: str
    path: Path | None
    entry: str
    settings: ModelSettings
    options: Table = field(default_factory=dict)
    inputs: tuple[Table, ...] = ()
    outputs: tuple[Table, ...] = ()
    trusted: bool = False
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A model, or one version of it, that can't be loaded, and why.

    ``reason`` and ``hint`` may be shown to clients: they name files as seen from the model's folder. ``path``
    is for the log. ``version`` is empty where the model as a whole can't be read. ``folder`` as in ModelSource.
    """

    name: str
    reason: str
    hint: str = ""
    version: str = ""
    path: Path | None = None
    folder: Path | None = None

    @property
    def told(self) -> str:
        """Reason and hint as one text."""
        return f"{self.reason} ({self.hint})" if self.hint else self.reason


@dataclass(frozen=True, slots=True)
class Description:
    """What a ``model.toml`` says; without one, the defaults."""

    settings: ModelSettings
    file: str = ""
    entry: str = ""
    options: Table = field(default_factory=dict)
    inputs: tuple[Table, ...] = ()
    outputs: tuple[Table, ...] = ()


def check_name(name: str) -> None:
    """Raise ConfigError unless ``name`` can be a model's name in every protocol's paths."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{name!r} can't be a model's name",
            hint="use letters, digits, '.', '_' and '-', starting with a letter or digit, 255 at most",
        )


def split_entry(entry: str) -> tuple[str, str]:
    """``(file, "module:Class")``: a file for ``path/to/file.py:Class``, and none for ``module:Class``."""
    match = ENTRY.fullmatch(entry)
    if match is None:
        raise ConfigError(f"{entry!r} is no entry", hint="write module:Class or path/to/file.py:Class")
    module = match["module"] or ""
    if module.endswith(".py"):
        return module, f"{PurePosixPath(module).stem}:{match['name']}"
    return "", entry


def read_description(directory: Path, name: str, defaults: ModelSettings) -> Description:
    """The ``model.toml`` of the model ``name``; raises ConfigError for what such a file can't say."""
    if not (directory / MODEL_TOML).exists():
        return Description(defaults)
    table = parse_toml(directory / MODEL_TOML, MODEL_TOML)
    own: dict[str, Any] = {key: table.pop(key) for key in KEYS if key in table}
    settings = model_settings(table, defaults, MODEL_TOML, also=KEYS)
    if own.get("name", name) != name:
        raise ConfigError(
            f"model.toml says name = {own['name']!r} in the folder {name!r}",
            hint="a model is called what its folder is called: rename the folder or leave the key out",
        )
    file, entry = _text(own, "file"), _text(own, "entry")
    if entry:
        entry_file, entry = split_entry(entry)
        file = file or entry_file
    return Description(
        settings,
        _inside(file, "file"),
        entry,
        _options(own.get("options", {})),
        _tensors(directory, own, "inputs"),
        _tensors(directory, own, "outputs"),
    )


def _text(table: Table, key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{key} must be a text, got {value!r} (model.toml)")
    return value


def _inside(file: str, key: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\0" in file:
        raise ConfigError(f"{key} must lie in the model's folder, got {file!r} (model.toml)")
    return file


def _options(value: Any) -> Table:
    if not isinstance(value, dict):
        raise ConfigError(f"options must be a table, got {value!r} (model.toml)", hint="write [options]")
    return value


def _tensors(directory: Path, own: Table, kind: str) -> tuple[Table, ...]:
    tables = own.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{kind} must be tables, got {tables!r} (model.toml)", hint=f"write [[{kind}]]")
    read = tuple(_tensor(directory, table, kind) for table in tables)
    names = [table["name"] for table in read]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{kind} has {name!r} twice (model.toml)")
    return read


def _tensor(directory: Path, table: dict[str, Any], kind: str) -> Table:
    where = f"[[{kind}]] of model.toml"
    for key in table:
        if key not in TENSOR_KEYS:
            raise ConfigError(f"unknown key {key!r} ({where})", hint=suggest(key, TENSOR_KEYS))
    if not isinstance(table.get("name"), str) or not table["name"]:
        raise ConfigError(f"each table needs a name ({where})")
    if "labels_file" not in table:
        return table
    if "labels" in table:
        raise ConfigError(f"{table['name']!r} has both labels and labels_file ({where})")
    rest = {key: value for key, value in table.items() if key != "labels_file"}
    file = _inside(_text(table, "labels_file"), "labels_file")
    return {**rest, "labels": _read_labels(directory / file, file, "labels_file")}


def read_labels(directory: Path, file: str, key: str) -> list[str]:
    """The names of classes in a text file of the model's folder, one a line. ``key`` is what names the file."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\0" in file:
        raise ConfigError(f"{key} must lie in the model's folder, got {file!r}")
    return _read_labels(directory / file, file, key)


def _read_labels(path: Path, file: str, key: str) -> list[str]:
    try:
        if path.stat().st_size > LABELS_BYTES:
            raise ConfigError(f"{key} {file!r} has more than {LABELS_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise ConfigError(f"can't read {key} {file!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key} {file!r} is not UTF-8 text") from error
