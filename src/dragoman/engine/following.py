"""Lets what is loaded of a model be what the repository has of it. Knows no wire, and not why it is asked to.

What can't be loaded leaves what serves as it is: versions that are not offered any more go only when another one of
the model answers.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from dragoman.engine.desired import Wanted
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, State
from dragoman.engine.manager import Manager, Sourced
from dragoman.engine.planning import plan
from dragoman.errors import NoVersion, Unreadable, VersionsFailed
from dragoman.repository.offers import Offer, Offers, Version
from dragoman.repository.spec import ModelSource, Problem
from dragoman.repository.uploads import Upload

log = logging.getLogger("dragoman.engine")

#: What is written down of a version that can be had from the repository again, and of one that can't.
REPOSITORY: Final[Mapping[str, Any]] = {"from": "repository"}
UPLOAD: Final[Mapping[str, Any]] = {"from": "request"}


class Follower:
    """Loads and unloads. One thing at a time for each model: who calls takes care of that."""

    def __init__(self, engine: Engine, manager: Manager) -> None:
        self._engine = engine
        self._manager = manager
        self._loaded: dict[tuple[str, str], Version] = {}  # what each version that answers was loaded from
        self._removals: set[asyncio.Future[None]] = set()

    async def follow(
        self,
        offer: Offer,
        who: str = "",
        document: Mapping[str, Any] = REPOSITORY,
        upload: Upload | None = None,
        scale: Mapping[str, Wanted] | None = None,
    ) -> dict[str, str]:
        """Load what differs and unload what is not offered. Returns why something is not as it should be, by version;
        under "" what is in the way of the whole model.

        ``upload`` is held by each version that is made of it. ``scale`` is what was wanted of versions before the
        server was started. Raises StorageFailed when it can't be written down.
        """
        loaded = self._answering(offer.name)
        changed = [version for name, version in offer.versions.items() if loaded.get(name) != version]
        gone = [name for name in loaded if name not in offer.versions]
        plans = [
            Sourced(self._plan(_scaled(version.source, scale or {}), upload), document) for version in changed
        ]
        records = await self._manager.exchange(offer.name, plans, gone, who)
        failures = {}
        for version, record in zip(changed, records, strict=True):
            if record.reason:
                failures[record.version] = record.reason
            else:
                self._loaded[offer.name, record.version] = version
        for problem in offer.problems:
            failures[problem.version] = self._note(problem)
        return failures

    async def retire(self, name: str, who: str = "") -> None:
        """Unload all of a model. Returns when no request finds it; what was accepted is answered."""
        await self._manager.retire(name, who)
        self._answering(name)

    def is_current(self, offer: Offer) -> bool:
        """Whether just what is offered is loaded, in every version."""
        return not offer.problems and self._answering(offer.name) == offer.versions

    def forget(self, there: Offers, only: str = "", *, awaited: bool = True) -> None:
        """Of what is not there and not loaded there is no more to tell: of all models, or of ``only`` one.

        Unless ``awaited`` is on, what the server was to have when it started is still told of.
        """
        records = self._engine.lifecycle.records.values()
        for record in [record for record in records if only in ("", record.name)]:
            offer = there.get(record.name)
            offered = offer is not None and offer.tells_of(record.version)
            over = record.state in (State.UNLOADED, State.FAILED) and (awaited or not record.awaited)
            if over and not offered:
                self._engine.lifecycle.forget(record.name, record.version)

    async def stop(self) -> None:
        """Returns when what came with requests has been removed, where it is not needed any more."""
        await asyncio.gather(*self._removals)

    def _answering(self, name: str) -> dict[str, Version]:
        """What the versions that answer were loaded from; the others are forgotten."""
        versions = self._engine.registry.versions(name)
        for key in [key for key in self._loaded if key[0] == name and key[1] not in versions]:
            del self._loaded[key]
        return {
            version: self._loaded[name, version] for version in versions if (name, version) in self._loaded
        }

    def _plan(self, source: ModelSource, upload: Upload | None) -> Plan:
        made = plan(source)
        if upload is None:
            return made
        upload.hold()
        return replace(made, gone=partial(self._let_go, upload))

    def _let_go(self, upload: Upload) -> None:
        """Removing files takes a moment: not on the event loop."""
        removal = asyncio.get_running_loop().run_in_executor(None, upload.release)
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    def _note(self, problem: Problem) -> str:
        """Let the index and the log tell of what can't even be tried."""
        reason = problem.told
        serving = self._engine.registry.versions(problem.name)
        if problem.version in serving or (serving and not problem.version):
            labels = {"model": problem.name, "version": problem.version, "reason": reason}
            log.error("a model can't be loaded again, what is loaded stays", extra=labels)
        else:
            self._engine.lifecycle.fail(problem.name, problem.version, reason)
        return reason


def accept(offer: Offer, failures: Mapping[str, str]) -> None:
    """Raise a LoadFailed for what ``follow`` has returned, unless all is as it should be."""
    if not failures:
        return
    if "" in failures:
        raise Unreadable(failures[""])
    if not offer.versions:
        raise NoVersion("; ".join(problem.told for problem in offer.problems))
    raise VersionsFailed(offer.name, failures)


async def load_found(engine: Engine, found: Iterable[ModelSource | Problem]) -> None:
    """Load all that was found, side by side. Failures become records, never exceptions."""
    plans: list[Plan] = []
    for entry in found:
        if isinstance(entry, Problem):
            engine.lifecycle.fail(entry.name, entry.version, entry.told)
        else:
            plans.append(plan(entry))
    await engine.lifecycle.load_all(plans)


def _scaled(source: ModelSource, scale: Mapping[str, Wanted]) -> ModelSource:
    wanted = scale.get(source.version)
    if wanted is None:
        return source
    settings = replace(source.settings, instances=wanted.minimum, max_instances=wanted.maximum)
    return replace(source, settings=settings)
