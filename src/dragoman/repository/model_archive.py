"""From a model's archive, or a directory that holds what one holds, to a version that can be loaded.

Brings ``archive``, ``cache``, ``manifest`` and ``model_yaml`` together; knows no runtime but its name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dragoman.config import ModelSettings
from dragoman.repository.archive import SUFFIXES
from dragoman.repository.cache import cache_directory, unpack_cached
from dragoman.repository.manifest import Manifest, read_manifest
from dragoman.repository.model_yaml import ModelYaml, apply, read_model_yaml
from dragoman.repository.paths import InvalidArchive, shown
from dragoman.repository.spec import ModelSource, check_name

LONGEST: Final = 255
RUNTIME: Final = "torchserve"
VERSION: Final = re.compile(r"[^\s/\\%?#\x00-\x1f\x7f]{1,255}")


@dataclass(frozen=True, slots=True)
class ModelArchive:
    """What lies in an archive. ``digest`` is the archive's SHA-256, empty for a directory."""

    directory: Path
    manifest: Manifest
    yaml: ModelYaml
    digest: str = ""


def open_model_archive(path: Path, cache: Path | None = None) -> ModelArchive:
    """Unpack an archive (once: see ``cache``) and read it; a directory is read where it lies.

    Raises InvalidArchive, or ConfigError where there is no place to unpack.
    """
    directory, digest = path, ""
    if not path.is_dir():
        directory, digest = unpack_cached(path, cache or cache_directory("models"))
    manifest = read_manifest(directory)
    return ModelArchive(directory, manifest, read_model_yaml(directory, manifest.config_file), digest)


def source_of(
    archive: ModelArchive,
    defaults: ModelSettings,
    *,
    name: str = "",
    default_name: str = "",
    handler: str = "",
) -> ModelSource:
    """The version to load. ``name`` and ``handler`` win over the manifest, ``default_name`` fills it up.

    Raises InvalidArchive where nobody says what the model is called, ConfigError for a name that can't be one.
    """
    manifest = archive.manifest
    name = name or manifest.name or default_name
    if not name:
        raise InvalidArchive("Model name is not defined.", hint="the archive has no MAR-INF/MANIFEST.json")
    if len(name) > LONGEST:
        raise InvalidArchive(f"a model's name has at most {LONGEST} characters")
    check_name(name)
    if VERSION.fullmatch(manifest.version) is None or manifest.version in (".", ".."):
        raise InvalidArchive(f"{shown(manifest.version)} can't be a model's version")
    handler = handler or manifest.handler
    options = {
        "manifest": _document(manifest, name, handler),
        "model_yaml_config": dict(archive.yaml.document),
        "handler": handler,
        "torchserve": archive.yaml.settings,
    }
    settings = replace(apply(archive.yaml.settings, defaults), runtime=RUNTIME)
    return ModelSource(name, manifest.version, archive.directory, "", settings, options, trusted=True)


def requirements_of(source: ModelSource) -> Path | None:
    """The file of Python packages that an archive asks for (see ``environments``), if it does and has it."""
    file = source.options.get("manifest", {}).get("model", {}).get("requirementsFile")
    if source.settings.runtime != RUNTIME or source.path is None or not file:
        return None
    return source.path / file if (source.path / file).is_file() else None


def name_of(path: Path) -> str:
    """What a model without a manifest is called at start-up: the file's name, tamed as TorchServe does."""
    lower = path.name.lower()
    suffix = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    return re.sub(r"\W|^_", "_", path.name[: len(path.name) - len(suffix)], flags=re.ASCII)


def _document(manifest: Manifest, name: str, handler: str) -> Mapping[str, Any]:
    """The manifest as a handler sees it: the file as it stands, or what one would have said."""
    if manifest.document:
        return manifest.document
    model = {"modelName": name, "handler": handler, "modelVersion": manifest.version}
    return {"runtime": manifest.runtime, "model": model}
