"""What operators do to models while they serve: load, replace, scale, split, roll back, unload.

One thing at a time for each model, and written down before requests see it: whoever is told that something has changed
finds it changed after a restart, and what could not be done, or not be written down, has changed nothing. Knows no
wire, and not where it is written down.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

from dragoman.engine.desired import Desired, Ledger, Memory, Wanted
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, Record, State
from dragoman.engine.model import Model
from dragoman.engine.traffic import Traffic
from dragoman.errors import Conflict, DragomanError, InvalidInput, LoadFailed, NotFound

log = logging.getLogger("dragoman.engine")

#: Earlier defaults of a model that are remembered.
MOST_BEFORE: Final = 100


@dataclass(frozen=True, slots=True)
class Sourced:
    """A version to load, and what its plan can be made from again."""

    plan: Plan
    document: Mapping[str, Any]


class Manager:
    """Changes models on behalf of ``who``. Everything happens on the event loop's thread."""

    def __init__(self, engine: Engine, ledger: Ledger | None = None, *, first_stays: bool = False) -> None:
        """``first_stays`` keeps the first version of a model its default until somebody sets another; otherwise the
        newest is."""
        self._engine = engine
        self._ledger = ledger or Memory()
        self._first_stays = first_stays
        self._desired: dict[str, Desired] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def desired(self, name: str) -> Desired:
        """What should be of a model. Raises NotFound."""
        found = self._desired.get(name)
        if found is None:
            raise NotFound(f"there is no model {name!r}")
        return found

    def origin(self, name: str, version: str) -> Mapping[str, str]:
        """Where a version came from, and its digest, as far as that is known."""
        wanted = self._desired.get(name, Desired(name)).versions.get(version, Wanted(version))
        return {key: str(wanted.document.get(key, "")) for key in ("source", "digest")}

    def names(self) -> list[str]:
        return sorted(self._desired)

    def adopt(self, desired: Desired) -> None:
        """Take over what was wanted of a model earlier, before any of it is loaded."""
        self._desired[desired.name] = desired
        if desired.default:
            self._engine.registry.set_default(desired.name, desired.default)

    def note(self, plan: Plan) -> Plan:
        """A version of the operator's start-up list is wanted, and comes back by itself. Returns how to load it: with
        as many instances as it was given since, if it was."""
        before = self._desired.get(plan.name, Desired(plan.name))
        said = plan.settings
        wanted = before.versions.get(plan.version)
        if wanted is None:
            wanted = Wanted(plan.version, {}, said.instances, said.max_instances)
            self._desired[plan.name] = replace(before, versions={**before.versions, plan.version: wanted})
        settings = replace(said, instances=wanted.minimum, max_instances=wanted.maximum)
        return replace(plan, settings=settings)

    async def register(
        self,
        plan: Plan,
        document: Mapping[str, Any],
        who: str = "",
        *,
        replaces: bool = False,
        aside: bool = False,
    ) -> Record:
        """Load a version and want it from now on. Raises LoadFailed when it can't be loaded, StorageFailed.

        A version that is wanted already is a Conflict, unless the new one ``replaces`` it. One that is to stand
        ``aside`` leaves the answers to the version that gives them now, also where the newest would.
        """
        async with self._changing(plan.name) as before:
            if plan.version in before.versions and not replaces:
                raise Conflict(f"model {plan.name!r} has a version {plan.version} already")
            wanted = _wanted(plan, document)
            after = replace(before, versions={**before.versions, plan.version: wanted})
            stays = plan.version if self._first_stays and not before.versions else ""
            if aside and not before.default:
                stays = self._engine.registry.default(plan.name)
            if stays:
                after = replace(after, default=stays)
                self._engine.registry.set_default(plan.name, stays)

            async def confirm() -> None:
                await self._write(after, f"load {plan.version}", who)

            try:
                record = await self._engine.lifecycle.load(plan, confirm)
            except BaseException:
                self._take_back(before, plan.version)
                raise
            if record.reason:
                self._take_back(before, plan.version)
                raise LoadFailed(record.reason)
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

        A version that is still being loaded is not waited for. Raises NotFound, and Conflict for the default version
        while there are others, unless ``force`` is on.
        """
        stopped = await self._give_up(name, version)
        async with self._changing(name) as before:
            if stopped and (version or not before.versions):
                return stopped
            self._check_known(before, version)
            default = self._engine.registry.default(name)
            if version and version == default and len(before.versions) > 1 and not force:
                raise Conflict(f"version {version} of model {name!r} is its default, and there are others")
            gone = [version] if version else list(before.versions)
            await self._forget(before, gone, f"unload {version}".strip(), who)
            await asyncio.gather(*(self._unload(name, each) for each in gone))
        return sorted({*gone, *stopped})

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

    async def scale(
        self,
        name: str,
        version: str,
        minimum: int,
        maximum: int,
        who: str = "",
        *,
        wake_timeout: float | None = None,
    ) -> int:
        """Keep between so many instances of a version. Returns how many there are when enough have been started.

        ``wake_timeout`` takes the place of the model's own. Raises NotFound, and LoadFailed when an instance could
        not be started.
        """
        if not 0 <= minimum <= max(minimum, maximum):
            raise InvalidInput(f"instances are from 0 on, got {minimum}")
        async with self._changing(name) as before:
            model = self._loaded(name, version)
            said, had = model.settings, model.instances
            wake = said.wake_timeout if wake_timeout is None else wake_timeout
            model.settings = replace(said, instances=minimum, max_instances=maximum, wake_timeout=wake)
            try:
                await self._start(model)
                wanted = before.versions.get(model.version, Wanted(model.version))
                wanted = replace(wanted, minimum=minimum, maximum=maximum)
                versions = {**before.versions, model.version: wanted}
                await self._write(replace(before, versions=versions), f"scale {model.version}", who)
            except BaseException:
                model.settings = said
                await model.scale(min(had, model.instances))
                raise
            await model.scale(min(model.instances, model.range.maximum))
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
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
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
        await self._write(replace(desired, default=version, before=tuple(earlier[-MOST_BEFORE:])), what, who)
        self._engine.registry.set_default(desired.name, version)

    def _check_known(self, desired: Desired, version: str) -> None:
        if not desired.versions:
            raise NotFound(f"there is no model {desired.name!r}")
        if version and version not in desired.versions:
            raise NotFound(f"model {desired.name!r} has no version {version!r}")

    def _loaded(self, name: str, version: str) -> Model:
        return self._engine.registry.find(name, version)

    async def _give_up(self, name: str, version: str) -> list[str]:
        """End the loads of versions that are not wanted yet, and now never will have been."""
        wanted = self._desired.get(name, Desired(name)).versions
        loading = [
            each for model, each in self._engine.lifecycle.records if model == name and each not in wanted
        ]
        return [
            each
            for each in loading
            if version in ("", each) and await self._engine.lifecycle.give_up(name, each)
        ]

    async def _start(self, model: Model) -> None:
        """Let it have as many instances as it must have."""
        try:
            await model.scale(max(model.instances, model.range.minimum))
        except Exception as error:
            raise LoadFailed(f"an instance of model {model.name!r} could not be started: {error}") from error

    async def _forget(self, before: Desired, gone: Sequence[str], what: str, who: str) -> None:
        """Want these versions no more."""
        left = {key: wanted for key, wanted in before.versions.items() if key not in gone}
        if not left:
            await asyncio.to_thread(self._ledger.erase, before.name, who)
            del self._desired[before.name]
            return
        default = "" if before.default in gone else before.default
        earlier = tuple(version for version in before.before if version not in gone)
        traffic = _without(before.traffic, gone)
        after = replace(before, versions=left, default=default, before=earlier, traffic=traffic)
        await self._write(after, what, who)
        registry = self._engine.registry
        if default != before.default:
            registry.set_default(before.name, default)
        if traffic != before.traffic:
            registry.set_traffic(before.name, traffic)

    async def _unload(self, name: str, version: str) -> None:
        await self._engine.lifecycle.give_up(name, version)
        await self._engine.lifecycle.unload(name, version)
        self._engine.lifecycle.forget(name, version)

    def _take_back(self, before: Desired, version: str) -> None:
        """A version that could not be loaded and is not wanted leaves no trace."""
        self._engine.registry.set_default(before.name, before.default)
        record = self._engine.lifecycle.records.get((before.name, version))
        if record is not None and record.state is State.FAILED and version not in before.versions:
            self._engine.lifecycle.forget(before.name, version)


def _wanted(plan: Plan, document: Mapping[str, Any]) -> Wanted:
    said = plan.settings
    return Wanted(plan.version, dict(document), said.instances, said.max_instances)


def _without(traffic: Traffic, versions: Sequence[str]) -> Traffic:
    """A split with a share that nobody has any more is none."""
    shares = {} if any(version in traffic.shares for version in versions) else traffic.shares
    return Traffic(shares, "" if traffic.shadow in versions else traffic.shadow)
