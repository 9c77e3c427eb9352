"""TorchServe's snapshots, read and written: a configuration with the models of a moment in it. Pure: text in, text out.

::

    #Saving snapshot
    #Sat Nov 21 22:41:16 UTC 2026
    model_store=model_store
    model_snapshot={"name": …, "modelCount": 1, "created": …, "models": {"echo": {"1.0": {"marName": …}}}}

What TorchServe knows of a version and a ``model.toml`` doesn't is kept among its options, under TorchServe's names.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final

from dragoman.errors import ConfigError, InvalidInput
from dragoman.profiles.torchserve import properties
from dragoman.store.state import Model, Version, check

KEY: Final = "model_snapshot"
KINDS: Final = ("startup", "snapshot", "shutdown")

#: What each name means where a version doesn't say it: TorchServe's own defaults. Times in ms and s, as there.
_DEFAULTS: Final[dict[str, Any]] = {
    "defaultVersion": False,
    "marName": "",
    "minWorkers": 1,
    "maxWorkers": 1,
    "batchSize": 1,
    "maxBatchDelay": 100,
    "responseTimeout": 120,
    "startupTimeout": 120,
    "runtimeType": "python",
    "parallelLevel": 1,
}
_OPTIONS: Final = ("startupTimeout", "runtimeType", "parallelLevel")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """``created`` is in UTC and whole milliseconds. ``properties`` are the configuration's other keys."""

    name: str
    created: datetime
    models: tuple[Model, ...]
    properties: Mapping[str, str] = field(default_factory=dict)


def snapshot_name(created: datetime, kind: str) -> str:
    """The file's name, which sorts by time: ``20261121224116639-snapshot.cfg``; ``kind`` is one of ``KINDS``."""
    return f"{created:%Y%m%d%H%M%S}{created.microsecond // 1000:03}-{kind}.cfg"


def write_snapshot(snapshot: Snapshot) -> str:
    """The text of the file. Versions that shall not be loaded are left out: TorchServe has none."""
    models = {model.name: dict(_encode_model(model)) for model in snapshot.models}
    document = {
        "name": snapshot.name,
        "modelCount": sum(map(len, models.values())),
        "created": (snapshot.created - _EPOCH) // timedelta(milliseconds=1),
        "models": models,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    comment = f"#Saving snapshot\n#{_java_date(snapshot.created.astimezone(UTC))}\n"
    return comment + properties.dump({**snapshot.properties, KEY: text})


def read_snapshot(text: str) -> Snapshot:
    """The snapshot in a file's text. Raises ConfigError for a text that is none."""
    values = properties.parse(text)
    try:
        document = json.loads(values.pop(KEY))
    except KeyError:
        raise ConfigError(f"this is no snapshot: it has no {KEY}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{KEY} is not JSON: {error}") from None
    document = _object(document, KEY)
    models = _object(document.get("models", {}), "models")
    try:
        return Snapshot(
            name=_typed(document, "name", ""),
            created=_EPOCH + timedelta(milliseconds=_typed(document, "created", 0)),
            models=tuple(_decode_model(name, _object(versions, name)) for name, versions in models.items()),
            properties=values,
        )
    except (InvalidInput, OverflowError) as error:
        raise ConfigError(f"{KEY} says what can't be: {error}") from None


def _encode_model(model: Model) -> Iterator[tuple[str, dict[str, Any]]]:
    for version in model.versions:
        if not version.loaded:
            continue
        settings, options = version.settings, version.settings.get("options", {})
        values = {
            "defaultVersion": version.version == model.default,
            "marName": PurePosixPath(version.source or version.path).name,
            "minWorkers": version.min_instances,
            "maxWorkers": version.max_instances,
            "batchSize": max(1, settings.get("max_batch", 1)),
            "maxBatchDelay": round(settings.get("max_delay", 0.1) * 1000),
            "responseTimeout": round(settings.get("response_timeout", 120)),
        }
        values |= {name: options.get(name, _DEFAULTS[name]) for name in _OPTIONS}
        if values["parallelLevel"] == 1:  # TorchServe writes it for models in several processes only
            del values["parallelLevel"]
        yield version.version, values


def _decode_model(name: str, tables: Mapping[str, Any]) -> Model:
    versions = []
    default = next(iter(tables), "")  # of TorchServe the one that came first, if none says it is
    for number, table in tables.items():
        said = _object(table, f"{name} {number}")
        values = {key: _typed(said, key, value) for key, value in _DEFAULTS.items()}
        options = {key: values[key] for key in _OPTIONS}
        if values["defaultVersion"]:
            default = number
        version = Version(
            version=number,
            source=values["marName"] or f"{name}.mar",
            runtime="torchserve",
            min_instances=values["minWorkers"],
            max_instances=values["maxWorkers"],
            settings={
                "max_batch": values["batchSize"],
                "max_delay": values["maxBatchDelay"] / 1000,
                "response_timeout": float(values["responseTimeout"]),
                "options": options,
            },
        )
        versions.append(version)
    model = Model(name=name, versions=tuple(versions), default=default)
    check(model)
    return model


def _typed(document: Mapping[str, Any], key: str, default: Any) -> Any:
    value = document.get(key, default)
    if type(value) is not type(default):
        raise ConfigError(f"{key} must be like {default!r}, got {value!r}")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a JSON object, got {str(value)[:40]!r}")
    return value


def _java_date(time: datetime) -> str:
    """As Java's ``Date.toString``: English whatever the locale, and the day in two digits."""
    words = time.ctime()
    return f"{words[:8]}{time.day:02}{words[10:19]} UTC {time.year}"
