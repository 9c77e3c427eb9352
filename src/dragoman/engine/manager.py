"""What operators do to models while they serve: load, replace, scale, split, roll back, unload.

One thing at a time for each model, and written down before it is called done: whoever is told that something has
changed finds it changed after a restart. Knows no wire, and not where it is written down.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, Record, State
from dragoman.engine.model import Model
from dragoman.engine.traffic import Traffic
from dragoman.errors import Conflict, DragomanError, InvalidInput, LoadFailed, NotFound

log = logging.getLogger("dragoman.engine")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be of one version: ``document`` is what its plan can be made from again, and is written as JSON."""

    version: str
    document: Mapping[str, Any] = field(default_factory=dict)
    minimum: int = 1
    maximum: int = 0
    loaded: bool = True


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be of one model. ``default`` is empty where the newest version answers; ``before`` are the defaults
    it had earlier, the newest last."""

    name: str
    versions: Mapping[str, Wanted] = field(default_factory=dict)
    default: str = ""
    before: Sequence[str] = ()
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True)
class Sourced:
    """A version to load, and what its plan can be made from again."""

    plan: Plan
    document: Mapping[str, Any]


class Ledger(Protocol):
    """Where it is written down. Both may take their time, and are called on a thread.

    Raises StorageFailed, and has then written nothing.
    """

    def write(self, desired: Desired, what: str, who: str) -> None: ...
    def erase(self, name: str, who: str) -> None: ...


class Memory:
    """No ledger: what is wanted is forgotten when the server ends."""

    def write(self, desired: Desired, what: str, who: str) -> None: ...
    def erase(self, name: str, who: str) -> None: ...


class Manager:
    """Changes models on behalf of ``who``. Everything happens on the event loop's thread."""

    def __init__(self, engine: Engine, ledger: Ledger | None = None) -> None:
        self._engine = engine
        self._ledger = ledger or Memory()
        self._desired: dict[str, Desired] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def desired(self, name: str) -> Desired:
        """What should be of a model. Raises NotFound."""
        found = self._desired.get(name)
        if found is None:
            raise NotFound(f"there is no model {name!r}")
        return found

    def names(self) -> list[str]:
        return sorted(self._desired)

    def adopt(self, desired: Desired) -> None:
        """Take over what was wanted of a model earlier, before any of it is loaded."""
        self._desired[desired.name] = desired
        if desired.default:
            self._engine.registry.set_default(desired.name, desired.default)

    async def register(
        self, plan: Plan, document: Mapping[str, Any], who: str = "", *, replaces: bool = False
    ) -> Record:
        """Load a version and want it from now on. Raises LoadFailed when it can't be loaded; then nothing has changed.

        A version that is wanted already is a Conflict, unless the new one ``replaces`` it.
        """
        async with self._changing(plan.name) as before:
            if plan.version in before.versions and not replaces:
                raise Conflict(f"model {plan.name!r} has a version {plan.version} already")
            record = await self._engine.lifecycle.load(plan)
            if record.reason:
                self._discard(record, before)
                raise LoadFailed(record.reason)
            versions = {**before.versions, plan.version: _wanted(plan, document)}
            await self._write(replace(before, versions=versions), f"load {plan.version}", who)
        return record

    async def exchange(
        self, name: str, plans: Sequence[Sourced], gone: Collection[str], who: str = ""
    ) -> list[Record]:
        """Have these versions instead of those: load ``plans`` side by side, replacing what has the same number, and
        unload those of ``gone`` once any other version of the model answers.

        Never raises for what can't be loaded: its record says why and stays, what served before goes on, and what was
        wanted before still is. A version that somebody has made the default, or given a share of the traffic, stays.
        """
        async with self._changing(name) as before:
            lifecycle, registry = self._engine.lifecycle, self._engine.registry
            default = registry.default(name)
            records = await asyncio.gather(*(lifecycle.load(sourced.plan) for sourced in plans))
            versions = dict(before.versions)
            for sourced, record in zip(plans, records, strict=True):
                if not record.reason:
                    versions[record.version] = _wanted(sourced.plan, sourced.document)
            going: set[str] = set()
            if not set(registry.versions(name)) <= set(gone):
                chosen = {before.default, *before.traffic.shares, before.traffic.shadow}
                going = set(gone) - chosen
            left = {version: wanted for version, wanted in versions.items() if version not in going}
            if left != before.versions:
                earlier = (*before.before, default) if default != registry.default(name) else before.before
                kept = tuple(version for version in earlier if version in left)
                try:
                    changed = replace(before, versions=left, before=kept)
                    await self._keep(changed, f"load {', '.join(left)}", who)
                except DragomanError:
                    for version in left.keys() - before.versions.keys():
                        lifecycle.retire(name, version)
                    raise
            for version in going:
                lifecycle.retire(name, version)
        return list(records)

    async def retire(self, name: str, who: str = "") -> None:
        """Want nothing of a model any more, and let no request find it. Returns when that is written down: what has
        been accepted is still being answered then. Its records stay, for whoever may load it again."""
        async with self._changing(name):
            if name in self._desired:
                await asyncio.to_thread(self._ledger.erase, name, who)
                del self._desired[name]
            registry = self._engine.registry
            registry.set_traffic(name, Traffic())
            registry.set_default(name, "")
            lifecycle = self._engine.lifecycle
            for version in [version for known, version in lifecycle.records if known == name]:
                lifecycle.retire(name, version)

    async def unregister(
        self, name: str, version: str = "", who: str = "", *, force: bool = False
    ) -> list[str]:
        """Unload a version, or all of a model, and want it no more. Returns the versions that went.

        Raises NotFound, and Conflict for the default version while there are others, unless ``force`` is on.
        """
        async with self._changing(name) as before:
            self._check_known(before, version)
            default = self._engine.registry.default(name)
            if version and version == default and len(before.versions) > 1 and not force:
                raise Conflict(f"version {version} of model {name!r} is its default, and there are others")
            gone = [version] if version else list(before.versions)
            left = {key: wanted for key, wanted in before.versions.items() if key not in gone}
            if left:
                default = "" if before.default in gone else before.default
                traffic = _without(before.traffic, gone)
                await self._write(
                    replace(before, versions=left, default=default, traffic=traffic), f"unload {version}", who
                )
            else:
                await asyncio.to_thread(self._ledger.erase, name, who)
                del self._desired[name]
            await asyncio.gather(*(self._engine.lifecycle.unload(name, each) for each in gone))
            for each in gone:
                self._engine.lifecycle.forget(name, each)
        return gone

    async def set_default(self, name: str, version: str, who: str = "") -> None:
        """Let a version answer who names none; "" is the newest again. Raises NotFound."""
        async with self._changing(name) as before:
            self._check_known(before, version)
            await self._switch(before, version, f"default {version or 'newest'}", who)

    async def roll_back(self, name: str, who: str = "") -> str:
        """Let the version answer that was the default before this one, and say which. Raises NotFound, Conflict.

        Called again, it goes back further.
        """
        async with self._changing(name) as before:
            registry, now = self._engine.registry, self._engine.registry.default(name)
            loaded = registry.versions(name)
            earlier = [version for version in before.before if version in loaded and version != now]
            if not earlier:
                raise Conflict(f"model {name!r} has no earlier default that is still loaded")
            cut = len(before.before) - 1 - list(reversed(before.before)).index(earlier[-1])
            kept = replace(before, before=tuple(before.before[:cut]))
            await self._switch(kept, earlier[-1], f"roll back to {earlier[-1]}", who, remember=False)
            return earlier[-1]

    async def scale(self, name: str, version: str, minimum: int, maximum: int, who: str = "") -> int:
        """Keep between so many instances of a version. Returns how many there are when enough have been started.

        Raises NotFound, and LoadFailed when an instance could not be started: what was wanted before is wanted again.
        """
        if not 0 <= minimum <= max(minimum, maximum):
            raise InvalidInput(f"instances are from 0 on, got {minimum}")
        async with self._changing(name) as before:
            model = self._loaded(name, version)
            said = model.settings
            model.settings = replace(said, instances=minimum, max_instances=maximum)
            least, most = model.range.minimum, model.range.maximum
            try:
                await model.scale(min(max(model.instances, least), most))
            except Exception as error:
                model.settings = said
                raise LoadFailed(f"an instance of model {name!r} could not be started: {error}") from error
            wanted = before.versions.get(model.version, Wanted(model.version))
            wanted = replace(wanted, minimum=minimum, maximum=maximum)
            versions = {**before.versions, model.version: wanted}
            await self._write(replace(before, versions=versions), f"scale {model.version}", who)
            return model.instances

    async def set_traffic(self, name: str, traffic: Traffic, who: str = "") -> None:
        """Split the traffic of a model between its versions, or copy it to one. Raises NotFound."""
        async with self._changing(name) as before:
            for version in (*traffic.shares, *filter(None, [traffic.shadow])):
                self._loaded(name, version)
            await self._write(replace(before, traffic=traffic), "traffic", who)
            self._engine.registry.set_traffic(name, traffic)

    @asynccontextmanager
    async def _changing(self, name: str) -> AsyncIterator[Desired]:
        """Nobody else changes this model meanwhile."""
        async with self._locks[name]:
            yield self._desired.get(name, Desired(name))

    async def _write(self, desired: Desired, what: str, who: str) -> None:
        await self._keep(desired, what, who)
        log.info("model changed", extra={"model": desired.name, "change": what, "who": who or "the operator"})

    async def _keep(self, desired: Desired, what: str, who: str) -> None:
        await asyncio.to_thread(self._ledger.write, desired, what, who)
        self._desired[desired.name] = desired

    async def _switch(
        self, desired: Desired, version: str, what: str, who: str, *, remember: bool = True
    ) -> None:
        now = self._engine.registry.default(desired.name)
        earlier = (*desired.before, now) if remember and now and now != version else desired.before
        await self._write(replace(desired, default=version, before=tuple(earlier)), what, who)
        self._engine.registry.set_default(desired.name, version)

    def _check_known(self, desired: Desired, version: str) -> None:
        if not desired.versions:
            raise NotFound(f"there is no model {desired.name!r}")
        if version and version not in desired.versions:
            raise NotFound(f"model {desired.name!r} has no version {version!r}")

    def _loaded(self, name: str, version: str) -> Model:
        return self._engine.registry.find(name, version)

    def _discard(self, record: Record, before: Desired) -> None:
        """A version that could not be loaded and is not wanted leaves no trace."""
        if record.state is State.FAILED and record.version not in before.versions:
            self._engine.lifecycle.forget(record.name, record.version)


def _wanted(plan: Plan, document: Mapping[str, Any]) -> Wanted:
    said = plan.settings
    return Wanted(plan.version, dict(document), said.instances, said.max_instances)


def _without(traffic: Traffic, versions: Sequence[str]) -> Traffic:
    """A split with a share that nobody has any more is none."""
    shares = {} if any(version in traffic.shares for version in versions) else traffic.shares
    return Traffic(shares, "" if traffic.shadow in versions else traffic.shadow)
