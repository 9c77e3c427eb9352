"""From where somebody says a model is to its archive, unpacked: a name in the model store, a folder, or a URL.

What was fetched for a model that then can't be served is taken out of the store again.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dragoman.errors import AlreadyThere
from dragoman.profiles.torchserve.settings import Configuration
from dragoman.repository.model_archive import ModelArchive, open_model_archive
from dragoman.repository.sources import Rules, Sources, fetch, local
from dragoman.repository.sources.location import is_url, parse_url


@dataclass(frozen=True, slots=True)
class Obtained:
    """An archive that was opened. ``url`` is what clients are told; ``brought`` is what was fetched into the store."""

    archive: ModelArchive
    path: Path
    url: str
    brought: Path | None = None


def sources_of(configuration: Configuration, store: Path | None = None) -> Sources:
    """The ways into the model store, or into another one, that the operator allows."""
    rules = Rules(configuration.allowed_urls, configuration.allowed_networks)
    return Sources(store or configuration.model_store, rules)


def obtain_at_start(sources: Sources, location: str) -> Obtained:
    """The archive at a location of the start-up list; the file that an earlier start has fetched is taken again.

    Blocks. Raises SourceError, StorageFailed, Unsupported, ConfigError and OSError.
    """
    if not is_url(location):
        return open_here(sources, location)
    try:
        fetched = sources.fetch(location, check=open_model_archive)
    except AlreadyThere:
        path = sources.store / parse_url(location).name
        return Obtained(open_model_archive(path), path, parse_url(location).shown, path)
    archive = open_model_archive(fetched.path)
    return Obtained(archive, fetched.path, fetched.source, fetched.path if fetched.new else None)


def open_here(sources: Sources, location: str) -> Obtained:
    """The archive of that name in the store, or in a folder. Blocks. Raises as ``obtain_at_start``."""
    path = local.find(sources.store, location, sources.rules)
    return Obtained(open_model_archive(path), path, PurePosixPath(location).name or location)


async def obtain(sources: Sources, location: str) -> Obtained:
    """The archive at a location that a request names. Raises as ``obtain_at_start``, also AlreadyThere; then the
    store is as it was."""
    if not is_url(location):
        return await asyncio.to_thread(open_here, sources, location)
    opened: list[ModelArchive] = []  # its files lie elsewhere: it needn't be opened again under its own name
    fetched = await fetch(sources, location, check=lambda path: opened.append(open_model_archive(path)))
    archive = opened[0] if opened else await asyncio.to_thread(open_model_archive, fetched.path)
    return Obtained(archive, fetched.path, fetched.source, fetched.path if fetched.new else None)
