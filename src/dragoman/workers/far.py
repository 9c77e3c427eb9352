"""Loads a model as replicas in a Ray cluster, one for each of its instances. Knows how a model wants to be run."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import fields
from itertools import count
from typing import Any, Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError, DragomanError
from dragoman.runtimes.base import Artifact
from dragoman.workers.cluster import RayLine, application_name, make_replica
from dragoman.workers.crash import Exits
from dragoman.workers.introduction import Introduction, read_introduction
from dragoman.workers.remote import RemoteInstance, ReplicaDied
from dragoman.workers.replica import Order
from dragoman.workers.reporting import Outlet

log = logging.getLogger("dragoman.workers")

#: Batches that a model gets at once that can answer them side by side.
SIDE_BY_SIDE: Final = 128
#: Seconds after which people are told that a replica is not there yet.
PATIENCE: Final = 30.0


class Loader:
    """Makes replicas of one model."""

    def __init__(
        self,
        artifact: Artifact,
        runtime: str,
        settings: ModelSettings,
        environment: Mapping[str, str] | None,
    ) -> None:
        document = {field.name: getattr(artifact, field.name) for field in fields(artifact)}
        document["options"] = dict(artifact.options)
        self._order = Order(runtime, document, [path for path in sys.path if path])
        self._labels = {"model": artifact.name, "version": artifact.version}
        self._settings = settings
        self._resources: dict[str, Any] = {
            "num_cpus": settings.replica_cpus,
            "num_gpus": settings.replica_gpus,
        }
        if environment is not None and "PYTHONPATH" in environment:
            packages = {"PYTHONPATH": environment["PYTHONPATH"]}
            self._resources["runtime_env"] = {"env_vars": packages}
        self._numbers = count()
        self.exits = Exits()
        self.metrics = Outlet()

    async def load(self) -> tuple[RemoteInstance, Introduction]:
        """One replica more, and what it says of its model.

        Raises ConfigError with what its load raised, and leaves nothing behind then.
        """
        name, version = self._labels["model"], self._labels["version"]
        settings = self._settings
        ongoing = max(settings.max_ongoing, SIDE_BY_SIDE)  # what it has is decided here
        line = await make_replica(application_name(name, version), self._order, self._resources, ongoing)
        try:
            async with asyncio.timeout(settings.load_timeout or None):
                hello = await self._describe(line)
        except TimeoutError:
            await line.close()
            raise ConfigError(
                f"no replica within {settings.load_timeout:g} s",
                hint="the cluster may have no room for it: see replica_cpus and replica_gpus",
            ) from None
        except BaseException:
            await line.close()
            raise
        said = read_introduction(hello)
        most = SIDE_BY_SIDE if said.concurrent else settings.max_ongoing
        line.streams = said.takes_requests
        number = next(self._numbers)
        return RemoteInstance(line, self._labels, number, most, self.exits, self.metrics), said

    async def _describe(self, line: RayLine) -> dict[str, Any]:
        asked = asyncio.ensure_future(line.describe())
        try:
            while not (await asyncio.wait([asked], timeout=PATIENCE))[0]:
                hint = "the model loads, or the cluster has no room: see replica_cpus and replica_gpus"
                log.warning("a replica is not there yet", extra={**self._labels, "hint": hint})
            hello = await asked
        except ReplicaDied as death:
            raise ConfigError(f"{death.words} while the model loaded") from death
        except DragomanError as error:
            raise ConfigError(error.message) from error
        finally:
            asked.cancel()
        failure = hello.get("failure")
        if failure:
            story = RuntimeError("in the replica\n" + failure["story"]) if failure["story"] else None
            raise ConfigError(failure["reason"], hint=failure["hint"]) from story
        return hello
