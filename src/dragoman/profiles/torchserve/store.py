"""Which models a configuration starts with: from names of archives to versions that can be loaded.

Reads the model store; what can't be served is logged and left out, as TorchServe does.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError, DragomanError, SourceError
from dragoman.profiles.torchserve.obtaining import Obtained, obtain_at_start, sources_of
from dragoman.profiles.torchserve.serving import Serving, resolve
from dragoman.profiles.torchserve.settings import DEFAULT_SEQUENCE_HEADERS, Configuration
from dragoman.protocols.torchserve.management.refusals import source_refused
from dragoman.protocols.torchserve.management.requests import Registration
from dragoman.repository.archive import is_archive, is_unpacked
from dragoman.repository.model_archive import RUNTIME, ModelArchive, name_of, source_of
from dragoman.repository.spec import ModelSource
from dragoman.repository.workflow_archive import WorkflowArchive

log = logging.getLogger("dragoman.torchserve")

ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Registered:
    """A version to load. ``url`` is what clients are told it came from, ``path`` where it lies, and ``brought`` the
    same if it was fetched into the store; ``digest`` is the archive's SHA-256. ``since`` is in seconds since 1970.
    ``part_of`` names the workflow that has brought it, and ``hidden`` is one that isn't listed."""

    source: ModelSource
    serving: Serving
    url: str
    path: Path
    runtime: str = "python"
    digest: str = ""
    brought: Path | None = None
    since: float = field(default_factory=time.time)
    part_of: str = ""
    hidden: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.source.name, self.source.version

    def scaled(self, minimum: int, maximum: int) -> "Registered":
        """The same version with other numbers of workers."""
        serving = replace(self.serving, min_workers=minimum, max_workers=maximum)
        settings = replace(
            self.source.settings, instances=minimum, max_instances=maximum, wake_timeout=serving.wake_timeout
        )
        return replace(self, serving=serving, source=replace(self.source, settings=settings))


def find_models(configuration: Configuration) -> list[Registered]:
    """The models of the start-up list that can be had. A version that is there twice is taken once."""
    found: dict[tuple[str, str], Registered] = {}
    sources = sources_of(configuration)
    for name, location in _wanted(configuration):
        try:
            model = register(configuration, obtain_at_start(sources, location), name)
        except (ConfigError, DragomanError, OSError) as error:
            log.error("a model is left out", extra={"location": location, "reason": _reason(error)})
            continue
        if model.key in found:
            reason = f"version {model.key[1]} of {model.key[0]} is there already"
            log.error("a model is left out", extra={"location": location, "reason": reason})
        found.setdefault(model.key, model)
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
    obtained: Obtained,
    name: str = "",
    asked: Registration | None = None,
    part_of: str = "",
) -> Registered:
    """How to serve an archive. ``asked`` is ``None`` for models of the start-up list, to which ``name`` gives one.

    Raises ConfigError, InvalidArchive among them.
    """
    archive, request = obtained.archive, asked or Registration()
    source = source_of(
        archive,
        ModelSettings(),
        name=request.model_name or name,
        default_name=name_of(obtained.path) if asked is None else "",
        handler=request.handler or ("" if archive.manifest.handler else configuration.handler),
    )
    configured = configuration.models.get(source.name, {}).get(source.version, {})
    yaml = archive.yaml.settings if _has_yaml(archive) else None
    serving = resolve(yaml, configured, asked, configuration)
    written = configured.get("runtimeType") if asked is None else None
    settings = replace(serving.settings(configuration.settings().models), runtime=source.settings.runtime)
    options = {**source.options, **_options(configuration, serving)}
    return Registered(
        replace(source, settings=settings, options=options),
        serving,
        obtained.url,
        obtained.path,
        str(request.runtime or written or archive.manifest.runtime).lower(),
        archive.digest,
        obtained.brought,
        part_of=part_of,
    )


def register_function(
    configuration: Configuration, archive: WorkflowArchive, function: str, asked: Registration, part_of: str
) -> Registered:
    """A function of a workflow's handler as a model of its own, which runs where handlers run: in a process."""
    name = asked.model_name or function
    response, startup = asked.response_timeout, asked.startup_timeout
    serving = Serving(
        min_workers=1,
        max_workers=1,
        max_batch_delay=0,
        response_timeout=configuration.response_timeout if response is None else response,
        startup_timeout=configuration.startup_timeout if startup is None else startup,
        queue_size=configuration.queue_size,
    )
    handler = f"{PurePosixPath(archive.handler).name}:{function}"
    manifest = {"runtime": "python", "model": {"modelName": name, "handler": handler, "modelVersion": "1.0"}}
    options: dict[str, object] = {"manifest": manifest, "model_yaml_config": {}, "handler": handler}
    options |= _options(configuration, serving)
    settings = replace(serving.settings(configuration.settings().models), runtime=RUNTIME)
    place = (archive.directory / archive.handler).parent
    source = ModelSource(name, "1.0", place, "", settings, options, trusted=True)
    return Registered(
        source, serving, archive.handler, place, digest=archive.digest, part_of=part_of, hidden=True
    )


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


def _reason(error: Exception) -> str:
    if isinstance(error, SourceError):
        return f"{source_refused(error).message} ({error.message})"
    return f"can't be read: {error.strerror}" if isinstance(error, OSError) else str(error)
