"""Models registered, scaled and removed as TorchServe's management API asks for it.

The changes are the engine's manager's; kept here is what that API tells of a version and the engine needn't know.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from dragoman.engine.desired import Desired, Wanted
from dragoman.engine.engine import Engine
from dragoman.engine.manager import Manager
from dragoman.engine.planning import plan
from dragoman.errors import (
    ConfigError,
    Conflict,
    DragomanError,
    LoadFailed,
    NotFound,
    SourceError,
    StorageFailed,
    Unsupported,
)
from dragoman.profiles.torchserve.catalogue import Catalogue
from dragoman.profiles.torchserve.obtaining import Obtained, obtain, sources_of
from dragoman.profiles.torchserve.settings import Configuration
from dragoman.profiles.torchserve.snapshots import PART_OF
from dragoman.profiles.torchserve.store import Registered, default_versions, register
from dragoman.protocols.torchserve import errors
from dragoman.protocols.torchserve.management import Registration, Said, Scaling, refusals
from dragoman.repository.paths import InvalidArchive
from dragoman.repository.sources.staging import discard

log = logging.getLogger("dragoman.torchserve")

PROCESSING: Final = Said(202, "Processing worker updates...")
#: Workers that may be asked for: a slip of a key must not start a process for everybody on earth.
MOST_WORKERS: Final = 1024
RUNTIMES: Final = ("python", "python2", "python3")


class Registrar(Catalogue):
    """Changes what the catalogue shows. Everything happens on the event loop's thread."""

    def __init__(
        self, engine: Engine, manager: Manager, configuration: Configuration, models: Iterable[Registered]
    ) -> None:
        super().__init__(engine, configuration, models)
        self._manager = manager
        self._configuration = configuration
        self._sources = sources_of(configuration)
        self._tasks: set[asyncio.Task[None]] = set()
        for desired in desired_at_start(self._models.values()).values():
            manager.adopt(desired)

    async def register(self, asked: Registration, who: str, part_of: str = "") -> Said:
        """Read and load a model, perhaps as a part of a workflow.

        Whatever fails, the store and the models are as they were before.
        """
        _check(asked)
        obtained = await self._obtain(asked.url or "")
        try:
            model = self._reserve(self._read(obtained, asked, part_of))
        except DragomanError:
            if obtained.brought is not None:
                await asyncio.to_thread(discard, obtained.brought)
            raise
        (name, version), workers = model.key, model.serving.min_workers
        if workers and not asked.synchronous:
            self._go_on(self._load(model, who), "register", model)
            return PROCESSING
        await self._load(model, who)
        if workers:
            return Said(200, f'Model "{name}" Version: {version} registered with {workers} initial workers')
        text = "registered with 0 initial workers. Use scale workers API to add workers for the model."
        return Said(200, f'Model "{name}" Version: {version} {text}')

    async def add(self, model: Registered, who: str) -> None:
        """Load what has been read already."""
        await self._load(self._reserve(model), who)

    async def scale(self, name: str, version: str, asked: Scaling, who: str) -> Said:
        """Have more or fewer workers; between the two numbers it follows the load."""
        if asked.maximum < asked.minimum:
            raise refusals.bad_request("max_worker cannot be less than min_worker.")
        if not 0 <= asked.minimum <= asked.maximum <= MOST_WORKERS:
            raise refusals.bad_request(f"min_worker and max_worker must be between 0 and {MOST_WORKERS}.")
        model = self._find(name, version)
        change = self._scale(model.scaled(asked.minimum, asked.maximum), who)
        if not asked.synchronous:
            self._go_on(change, "scale", model)
            return PROCESSING
        await change
        of = f"{name}, version: {version}" if version else name
        return Said(200, f"Workers scaled to {asked.minimum} for model: {of}")

    async def set_default(self, name: str, version: str, who: str) -> Said:
        self._find(name, "")
        try:
            await self._manager.set_default(name, version, who)
        except NotFound:
            raise refusals.no_such_default(name, version) from None
        return Said(200, f'Default version successfully updated for model "{name}" to "{version}"')

    async def unregister(self, name: str, version: str, who: str) -> Said:
        """Take a version away when it has answered what it accepted, and its file if it was fetched."""
        model = self._find(name, version)
        versions = [known for of, known in self._models if of == name]
        if model.key[1] == self._engine.registry.default(name) and len(versions) > 1:
            raise refusals.default_stays(name)
        del self._models[model.key]  # what is still to be done to it finds that it has gone
        try:
            await self._manager.unregister(*model.key, who)
        except DragomanError:
            self._models.setdefault(model.key, model)
            raise
        self._at_start.discard(name)
        await self._clean_up(model)
        return Said(200, f'Model "{name}" unregistered')

    async def stop(self) -> None:
        """Give up what still goes on behind an answer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Inside.

    def _read(self, obtained: Obtained, asked: Registration, part_of: str) -> Registered:
        try:
            return register(self._configuration, obtained, asked=asked, part_of=part_of)
        except ConfigError as error:
            raise refusals.invalid_model(str(error)) from None

    def _reserve(self, model: Registered) -> Registered:
        """Nobody else can register this version from now on. Raises Refused."""
        if model.key in self._models:
            raise refusals.already_registered(*model.key)
        self._models[model.key] = model
        return model

    async def _obtain(self, location: str) -> Obtained:
        try:
            return await obtain(self._sources, location)
        except SourceError as error:
            log.warning("a model can't be had", extra={"location": _shown(location), "reason": error.message})
            raise refusals.source_refused(error) from None
        except Unsupported as error:
            raise refusals.bad_request(error.message) from None
        except InvalidArchive as error:
            raise refusals.invalid_model(str(error)) from None
        except (ConfigError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StorageFailed(f"the archive could not be unpacked: {reason}") from error

    async def _load(self, model: Registered, who: str) -> None:
        try:
            await self._manager.register(plan(model.source), document_of(model), who)
        except BaseException as error:
            if self._models.get(model.key) is model:  # if not, it was taken away meanwhile
                del self._models[model.key]
            await self._clean_up(model)
            if isinstance(error, LoadFailed):
                raise refusals.workers_failed(*model.key) from None
            if isinstance(error, Conflict):
                raise refusals.already_registered(*model.key) from None
            raise

    async def _scale(self, model: Registered, who: str) -> None:
        """``model`` is how it should be."""
        (name, version), serving = model.key, model.serving
        before, self._models[model.key] = self._models[model.key], model
        try:
            await self._engine.lifecycle.settled(name, version)
            if model.key not in self._models:
                raise errors.model_not_found(name)
            if version in self._engine.registry.versions(name):
                least, most, wake = serving.min_workers, serving.max_workers, serving.wake_timeout
                await self._manager.scale(name, version, least, most, who, wake_timeout=wake)
            else:  # it could not be loaded: perhaps it can now
                await self._manager.register(plan(model.source), document_of(model), who, replaces=True)
        except DragomanError as error:
            if self._models.get(model.key) is model:
                self._models[model.key] = before
            raise refusals.workers_failed(name, version) if isinstance(error, LoadFailed) else error from None

    async def _clean_up(self, model: Registered) -> None:
        """Take its file out of the store again, if it was fetched and nobody else is served from it."""
        if model.brought is not None and all(other.path != model.brought for other in self._models.values()):
            await asyncio.to_thread(discard, model.brought)

    def _go_on(self, change: Coroutine[Any, Any, None], what: str, model: Registered) -> None:
        """Do it behind the answer that has been given."""

        async def run() -> None:
            labels = {"model": model.key[0], "version": model.key[1], "change": what}
            try:
                await change
            except DragomanError as error:
                log.error("a change has failed", extra={**labels, "reason": error.message})
            except Exception:
                log.exception("a change has failed", extra=labels)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def desired_at_start(models: Iterable[Registered]) -> dict[str, Desired]:
    """What the start-up list wants, by name."""
    models = list(models)
    found: dict[str, Desired] = {}
    for name, default in default_versions(models).items():
        mine = [model for model in models if model.source.name == name]
        found[name] = Desired(name, {model.source.version: _wanted(model) for model in mine}, default)
    return found


def document_of(model: Registered) -> dict[str, Any]:
    """What is written down of a version: enough to read it again, and to see whether it is the same."""
    serving = model.serving
    return {
        "url": model.url,
        "digest": model.digest,
        "runtimeType": model.runtime,
        "handler": str(model.source.options.get("handler", "")),
        "batchSize": serving.batch_size,
        "maxBatchDelay": serving.max_batch_delay,
        "responseTimeout": serving.response_timeout,
        "startupTimeout": serving.startup_timeout,
        "registered": round(model.since),
        PART_OF: model.part_of,
    }


def _wanted(model: Registered) -> Wanted:
    serving = model.serving
    return Wanted(model.source.version, document_of(model), serving.min_workers, serving.max_workers)


def _check(asked: Registration) -> None:
    """Raises Refused for what needn't be looked for."""
    if asked.url is None:
        raise refusals.bad_request("Parameter url is required.")
    if asked.runtime is not None and asked.runtime.lower() not in RUNTIMES:
        raise refusals.bad_request(f"Invalid RuntimeType value: {asked.runtime}")
    if (asked.initial_workers or 0) > MOST_WORKERS:
        raise refusals.bad_request(f"initial_workers must be at most {MOST_WORKERS}.")


def _shown(location: str) -> str:
    """A location as the log may have it: a query may be a signature."""
    return location.partition("?")[0]
