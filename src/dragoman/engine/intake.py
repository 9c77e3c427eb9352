"""Takes a new model in while the server serves: fetched, read, loaded, wanted from now on; or nothing has changed.

Knows where models come from and what they look like on disk, and no wire.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dragoman.config import ModelSettings, model_settings
from dragoman.engine.desired import Wanted
from dragoman.engine.lifecycle import Plan, Record
from dragoman.engine.manager import Manager
from dragoman.engine.operations import Operation
from dragoman.engine.planning import plan
from dragoman.errors import ConfigError, Conflict, DragomanError, InvalidInput, LoadFailed, Unsupported
from dragoman.repository.layouts import Guess, read
from dragoman.repository.sources import Fetched, Sources, fetch
from dragoman.repository.spec import ModelSource, Problem, check_name

log = logging.getLogger("dragoman.engine")


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to be loaded. ``name`` and ``version`` take the place of the model's own; ``settings`` are
    those of a ``model.toml``. A version that ``replaces`` may be there already; a ``default`` one answers who names
    none from the moment it can."""

    location: str
    name: str = ""
    version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    default: bool = True
    replaces: bool = False


class Intake:
    """One door for new models. Without ``sources`` it is shut."""

    def __init__(
        self, manager: Manager, defaults: ModelSettings, guess: Guess, sources: Sources | None = None
    ) -> None:
        self._manager = manager
        self._defaults = defaults
        self._guess = guess
        self._sources = sources

    async def load(self, order: Order, who: str, operation: Operation) -> Sequence[Record]:
        """Load all versions that lie at the order's location; the newest is the default.

        Raises SourceError, LoadFailed, Conflict, InvalidInput, StorageFailed; what was fetched is gone then.
        """
        if self._sources is None:
            raise Unsupported(
                "this server loads no models on demand: it has no model store (setting management.store)"
            )
        operation.step = "fetching"
        fetched = await fetch(
            self._sources, order.location, digest=order.digest, progress=operation.progressed
        )
        try:
            return await self._take(fetched, order, who, operation)
        except BaseException:
            await asyncio.to_thread(fetched.discard)
            raise

    async def plans(self, name: str, wanted: Iterable[Wanted]) -> list[Plan]:
        """Plans for those versions that were taken in earlier; others have come by another way. What isn't there any
        more is left out, and logged."""
        made = []
        for each in wanted:
            if "path" not in each.document:
                continue
            try:
                made.append(await asyncio.to_thread(self._plan_again, name, each))
            except (ConfigError, DragomanError, OSError) as error:
                labels = {"model": name, "version": each.version, "reason": str(error)}
                log.error("a model that was served can't be found again", extra=labels)
        return made

    def _plan_again(self, name: str, wanted: Wanted) -> Plan:
        said = wanted.document
        order = Order("", name, "", said.get("settings", {}))
        found = self._read(Path(said["path"]), order)
        source = (
            found[0] if len(found) == 1 else next((s for s in found if s.version == wanted.version), None)
        )
        if source is None:
            raise LoadFailed("the version isn't there any more")
        settings = replace(source.settings, instances=wanted.minimum, max_instances=wanted.maximum)
        return plan(replace(source, version=wanted.version, settings=settings))

    async def _take(self, fetched: Fetched, order: Order, who: str, operation: Operation) -> Sequence[Record]:
        operation.step = "reading"
        try:
            found = await asyncio.to_thread(self._read, fetched.path, order)
        except ConfigError as error:
            raise LoadFailed(f"{error} ({error.hint})" if error.hint else str(error)) from error
        document = {
            "source": fetched.source,
            "path": str(fetched.path),
            "digest": fetched.digest,
            "settings": dict(order.settings),
        }
        known = set(self._manager.names())
        records: list[Record] = []
        try:
            for source in found:
                operation.step = f"loading {source.name} {source.version}"
                made = plan(source)
                aside = not order.default and source.name in known
                record = await self._manager.register(
                    made, document, who, replaces=order.replaces, aside=aside
                )
                records.append(record)
        except BaseException:
            if not order.replaces:  # those that replaced another can't be taken back: it is gone
                for record in records:
                    await self._manager.unregister(record.name, record.version, who, force=True)
            raise
        if order.default:
            for name, version in {record.name: record.version for record in records}.items():
                await self._manager.set_default(name, version, who)
        return records

    def _read(self, path: Path, order: Order) -> Sequence[ModelSource]:
        """What lies there, by rising version, under the names that the order gives. Raises LoadFailed."""
        settings = model_settings(order.settings, self._defaults, "settings")
        found = read(str(path), settings, self._guess)
        problems = [each for each in found if isinstance(each, Problem)]
        if problems:
            raise LoadFailed(problems[0].reason)
        sources = [each for each in found if isinstance(each, ModelSource)]
        if order.version:
            if len(sources) != 1:
                raise InvalidInput("only one version can be given another number, and there are several")
            sources = [replace(sources[0], version=order.version)]
        if order.name:
            check_name(order.name)
            if len({source.name for source in sources}) != 1:
                raise Conflict("only one model can be given another name, and there are several")
            sources = [replace(source, name=order.name) for source in sources]
        return sources
