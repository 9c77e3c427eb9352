"""Models that a program has made itself: what its repository holds is what the engine serves. Knows no wire.

The repository is KServe's ``ModelRepository``, whose ``load`` and ``unload`` are often the program's own; the engine
follows it.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from dragoman.compat.kserve.errors import ModelNotFound
from dragoman.compat.kserve.model import BaseKServeModel
from dragoman.compat.kserve.model_repository import ModelRepository
from dragoman.config import ModelSettings
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, Record
from dragoman.errors import ConfigError, InvalidInput, NotFound, NotReady
from dragoman.protocols.openai.serving import Serving, speaks
from dragoman.repository.overrides import NONE, Overrides
from dragoman.runtimes.base import Runtime
from dragoman.runtimes.kserve import KServeRuntime
from dragoman.workers.pool import Pool, start_loaded

log = logging.getLogger("dragoman.serving")

#: Every model of a program has one version.
VERSION: Final = "1"
PLATFORM: Final = "kserve"

#: Tells other processes of a change that this one was asked for; returns what went wrong when they have made it.
Tell = Callable[[str, str], Awaitable[list[str]]]


class ServedModels:
    """What clients may load and unload, and what is loaded: the repository's models."""

    mode = "explicit"

    def __init__(
        self,
        engine: Engine,
        repository: ModelRepository,
        openai: Serving,
        tell: Tell | None = None,
        changes: Sequence[Sequence[str]] = (),
    ) -> None:
        """``openai`` is told of models that speak OpenAI's API.

        ``changes`` are actions and names that other processes were asked for before this one began.
        """
        self._engine = engine
        self._repository = repository
        self._openai = openai
        self._tell = tell
        self._changes = changes
        self._served: dict[str, BaseKServeModel] = {}
        self._following = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._engines: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Serve what the repository holds, and follow it from now on."""
        loop = asyncio.get_running_loop()
        await self.follow()
        for action, name in self._changes:
            await self.follow_change(action, name)
        self._repository.watch(lambda: loop.call_soon_threadsafe(self._soon))  # hooks run on threads

    async def stop(self) -> None:
        """Follow it no more."""
        self._repository.watch(None)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Every model is gone, and has stopped its engine."""
        for engine in self._engines.values():
            engine.cancel()
        await asyncio.gather(*self._engines.values(), return_exceptions=True)

    async def index(self) -> list[Record]:
        """Every model that is or was served."""
        return self._engine.index()

    def answers(self, record: Record) -> bool:
        """Whether it answers at this moment."""
        try:
            return self._engine.find(record.name, record.version).ready
        except NotFound:
            return False

    async def load(self, name: str, overrides: Overrides = NONE, who: str = "") -> None:
        """Let the repository load a model, here and in the other processes. Raises NotReady where it can't."""
        if overrides is not NONE and (overrides.config or overrides.files):
            raise InvalidInput(
                "a model of a program takes neither configuration nor files: load it by its name"
            )
        log.info("asked to load a model", extra={"model": name, "who": who})
        await self._load(name)
        await self._pass_on("load", name)

    async def _load(self, name: str) -> None:
        try:
            loaded = await _called(self._repository.load, name)
        except Exception as error:
            log.error("model failed to load", extra={"model": name}, exc_info=error)
            raise NotReady(
                f"Model with name {name} is not ready. Error type: {type(error)} error msg: {error}"
            ) from error
        await self.follow()
        if not loaded:
            raise NotReady(f"Model with name {name} is not ready.")

    async def unload(self, name: str, who: str = "", *, dependents: bool = False) -> None:
        """Let the repository unload a model, here and in the other processes. Raises NotFound."""
        log.info("asked to unload a model", extra={"model": name, "who": who})
        await self._unload(name)
        await self._pass_on("unload", name)

    async def follow_change(self, action: str, name: str) -> None:
        """Make a change that another process was asked for."""
        await (self._load(name) if action == "load" else self._unload(name))

    async def _pass_on(self, action: str, name: str) -> None:
        if self._tell is not None and (failures := await self._tell(action, name)):
            raise NotReady(f"not every process could {action} model {name}: {failures[0]}")

    async def _unload(self, name: str) -> None:
        try:
            await _called(self._repository.unload, name)
        except (KeyError, ModelNotFound):
            raise NotFound(f"Model with name {name} does not exist.") from None
        await self.follow()

    async def follow(self) -> None:
        """Serve just what the repository holds now."""
        async with self._following:
            models = dict(self._repository.get_models())
            for name in [name for name in self._served if name not in models]:
                del self._served[name]
                self._openai.remove(name)
                if (engine := self._engines.pop(name, None)) is not None:
                    engine.cancel()
                self._engine.lifecycle.retire(name, VERSION)
                self._engine.lifecycle.forget(name, VERSION)
            new = {name: model for name, model in models.items() if self._served.get(name) is not model}
            self._served.update(new)
            await self._engine.lifecycle.load_all([plan(name, model) for name, model in new.items()])
            for name, model in new.items():
                if getattr(model, "engine", False):
                    self._engines[name] = asyncio.create_task(_run_engine(name, model))
                if speaks(model):
                    self._openai.add(name, model, VERSION)
                else:  # it has taken the place of one that did
                    self._openai.remove(name)

    def _soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.follow())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def plan(name: str, model: Any) -> Plan:
    """How a program's model comes to the engine: it is loaded already."""
    settings = settings_of(model)

    async def start() -> Pool:
        runtime: Runtime = await KServeRuntime.of(name, VERSION, model)
        return await start_loaded(runtime, settings.max_batch)

    return Plan(name, VERSION, PLATFORM, settings, start)


def settings_of(model: Any) -> ModelSettings:
    """What the model's class says of how it wants to be served: ``max_batch`` and ``max_delay`` join its requests,
    ``queue_size`` limits those that wait."""
    said = {
        name: getattr(model, name)
        for name in ("max_batch", "max_delay", "queue_size")
        if isinstance(getattr(model, name, None), int | float)
    }
    try:
        return ModelSettings(**said)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model {model.name!r} says of itself what can't be: {error}") from error


def check_models(models: Iterable[Any]) -> None:
    """Raise TypeError unless they are models."""
    for model in models:
        if not isinstance(model, BaseKServeModel):
            raise RuntimeError(
                f"Model type should be 'BaseKServeModel', got {type(model).__name__}: inherit from dragoman.Model"
            )


async def _run_engine(name: str, model: Any) -> None:
    """What a model does beside answering, as long as it is served: KServe doesn't wait for it either."""
    try:
        await model.start_engine()
    except Exception as error:
        log.error("the engine of a model has failed", extra={"model": name}, exc_info=error)


async def _called(function: Callable[[str], Any], name: str) -> Any:
    """The program's own function, which may be a coroutine, and may take its time: it runs on a thread if it isn't."""
    if inspect.iscoroutinefunction(function):
        return await function(name)
    result = await asyncio.to_thread(function, name)
    return await result if inspect.isawaitable(result) else result
