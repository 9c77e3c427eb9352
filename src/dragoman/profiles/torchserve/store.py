"""Which models a configuration starts with: from names of archives to versions that can be loaded.

Reads the model store; what can't be served is logged and left out, as TorchServe does.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.serving import Registration, Serving, resolve
from dragoman.profiles.torchserve.settings import DEFAULT_SEQUENCE_HEADERS, Configuration
from dragoman.repository.archive import is_archive, is_unpacked
from dragoman.repository.model_archive import ModelArchive, name_of, open_model_archive, source_of
from dragoman.repository.spec import ModelSource

log = logging.getLogger("dragoman.torchserve")

ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Registered:
    """A version to load. ``url`` is what clients are told it came from; ``at_start`` that nobody asked for it."""

    source: ModelSource
    serving: Serving
    url: str
    at_start: bool = True


def find_models(configuration: Configuration) -> list[Registered]:
    """The models of the start-up list that can be read. A version that is there twice is taken once."""
    found: dict[tuple[str, str], Registered] = {}
    for name, location in _wanted(configuration):
        try:
            model = register(configuration, location, name)
        except (ConfigError, OSError) as error:
            reason = str(error) if isinstance(error, ConfigError) else f"can't be read: {error.strerror}"
            log.error("a model is left out", extra={"location": location, "reason": reason})
            continue
        key = (model.source.name, model.source.version)
        if key in found:
            log.error(
                "a model is left out",
                extra={"location": location, "reason": f"version {key[1]} of {key[0]} is there already"},
            )
        found.setdefault(key, model)
    return list(found.values())


def default_versions(models: Iterable[Registered]) -> dict[str, str]:
    """The version of each model that answers who names none: what the configuration says, else the first registered."""
    defaults: dict[str, str] = {}
    said: dict[str, str] = {}
    for model in models:
        defaults.setdefault(model.source.name, model.source.version)
        if model.serving.default:
            said[model.source.name] = model.source.version
    return defaults | said


def register(
    configuration: Configuration,
    location: str,
    name: str = "",
    request: Registration | None = None,
    handler: str = "",
) -> Registered:
    """Read the model at a location. ``request`` is ``None`` for models of the start-up list.

    Raises ConfigError (InvalidArchive among them) and OSError.
    """
    path = locate(configuration.model_store, location)
    archive = open_model_archive(path)
    source = source_of(
        archive,
        ModelSettings(),
        name=name,
        default_name=name_of(path) if request is None else "",
        handler=handler or ("" if archive.manifest.handler else configuration.handler),
    )
    configured = configuration.models.get(source.name, {}).get(source.version, {})
    yaml = archive.yaml.settings if _has_yaml(archive) else None
    serving = resolve(yaml, configured, request, configuration)
    settings = replace(serving.settings(configuration.settings().models), runtime=source.settings.runtime)
    options = {**source.options, **_options(configuration, serving)}
    source = replace(source, settings=settings, options=options)
    return Registered(source, serving, _url(location), request is None)


def locate(store: Path, location: str) -> Path:
    """The file or folder: by its name in the store, or an existing folder anywhere. Raises ConfigError."""
    if "://" in location:
        raise ConfigError(f"models are not fetched from URLs yet: {location}")
    if ".." in PurePosixPath(location).parts:
        raise ConfigError(f"Relative path is not allowed in url: {location}")
    inside = store / PurePosixPath(location).name
    if inside.exists():
        return inside
    if Path(location).is_dir():
        return Path(location).absolute()
    raise ConfigError(f"Model not found at: {location}")


def _wanted(configuration: Configuration) -> Iterator[tuple[str, str]]:
    if [location.lower() for _, location in configuration.load_models] != [ALL]:
        yield from configuration.load_models
        return
    for entry in sorted(configuration.model_store.iterdir()):
        if entry.name.startswith("."):
            continue
        if is_unpacked(entry) if entry.is_dir() else is_archive(entry):
            yield "", entry.name
        else:
            log.warning("no model archive, left out", extra={"location": entry.name})


def _has_yaml(archive: ModelArchive) -> bool:
    file = archive.manifest.config_file
    return bool(file) and (archive.directory / file).exists()


def _options(configuration: Configuration, serving: Serving) -> dict[str, object]:
    """What the runtime is told of the configuration."""
    options: dict[str, object] = {
        "batch_size": serving.batch_size,
        "decode_input_request": configuration.decode_input,
        "limit_max_image_pixels": configuration.limit_max_image_pixels,
        "declared_metrics": configuration.declared_metrics.backend,
        "detect_metrics": configuration.detect_metrics,
        "each_metric": configuration.metrics_mode != "prometheus",
    }
    if (
        configuration.sequence_headers != DEFAULT_SEQUENCE_HEADERS
    ):  # else the handler's environment may name them
        options["sequence_headers"] = configuration.sequence_headers
    if configuration.envelope:
        options["envelope"] = configuration.envelope
    return options


def _url(location: str) -> str:
    return PurePosixPath(location).name or location
