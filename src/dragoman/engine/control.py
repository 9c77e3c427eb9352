"""Decides which of the repository's models are loaded, and when. Knows no wire.

::

    none       what was found when the server started, and nothing else
    poll       what lies in the folders: changes that are over are followed
    explicit   what clients ask for, and at the start what the operator names
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import orjson

from dragoman.config import Settings
from dragoman.engine.desired import Desired, Wanted
from dragoman.engine.engine import Engine, by_name
from dragoman.engine.following import REPOSITORY, UPLOAD, Follower, accept
from dragoman.engine.lifecycle import Record
from dragoman.engine.manager import Manager
from dragoman.engine.polling import Poller
from dragoman.engine.turns import Turns
from dragoman.errors import (
    ConfigError,
    Forbidden,
    InvalidInput,
    LoadFailed,
    NotFound,
)
from dragoman.repository.cache import cache_directory
from dragoman.repository.offers import Offer, Offers, Repository, offers
from dragoman.repository.overrides import NONE, Overrides, read_configured, read_upload
from dragoman.repository.spec import ModelSource, Problem, check_name
from dragoman.repository.uploads import Uploads
from dragoman.repository.versions import is_version
from dragoman.runtimes.table import guess

log = logging.getLogger("dragoman.engine")

EXPLICIT: Final = "explicit"
POLL: Final = "poll"

#: Which models can't answer without one, directly: they are unloaded with it where a client says so.
Dependents = Callable[[str], Sequence[str]]


def no_dependents(name: str) -> Sequence[str]:
    """No model needs another one."""
    return ()


class Controls(Protocol):
    """Who changes what is loaded, and what clients may ask of it."""

    @property
    def mode(self) -> str:
        """``none``, ``poll`` or ``explicit``: only with the last one clients may load and unload."""

    async def start(self) -> None:
        """Load what is there at the start."""

    async def stop(self) -> None:
        """Change nothing any more. Returns when nothing is being changed."""

    async def close(self) -> None:
        """Every model is gone."""

    async def index(self) -> list[Record]:
        """Every version that is known or could be loaded."""

    def answers(self, record: Record) -> bool:
        """Whether a loaded version answers at this moment."""

    async def load(self, name: str, overrides: Overrides = NONE, who: str = "") -> None:
        """Load a model. Raises DragomanError."""

    async def unload(self, name: str, who: str = "", *, dependents: bool = False) -> None:
        """Unload a model. Raises DragomanError."""


class Control:
    """Changes what is loaded, in the way that the operator has chosen.

    ``models`` were found for a server without a ``repository``, or with one that is not looked at again.
    """

    def __init__(
        self,
        engine: Engine,
        manager: Manager,
        settings: Settings,
        models: Sequence[ModelSource | Problem] = (),
        repository: Repository | None = None,
        dependents: Dependents = no_dependents,
    ) -> None:
        self._engine = engine
        self._manager = manager
        self._settings = settings
        self._models = models
        self._repository = repository
        self._dependents = dependents
        self._follower = Follower(engine, manager)
        self._uploads = Uploads(partial(cache_directory, "uploads"))
        self._looking = asyncio.Lock()
        self._turns = Turns()
        self.poller: Poller | None = None

    @property
    def mode(self) -> str:
        return "none" if self._repository is None else self._settings.server.control

    async def start(self) -> None:
        """Load what is there at the start. Returns when all of it has been tried; failures are records then."""
        if self.mode == EXPLICIT:
            await self._start_named()
            return
        there = await self._look() if self.mode == POLL else offers(self._models)
        await asyncio.gather(
            *(self._follower.follow(offer, scale=self._scale(name)) for name, offer in there.items())
        )
        if self.mode == POLL:
            clock, interval = self._engine.clock, self._settings.server.poll_interval
            self.poller = Poller(self._look, self._follower, clock, interval, there)
            self.poller.start()

    async def stop(self) -> None:
        """Change nothing any more. Returns when nothing is being changed."""
        if self.poller is not None:
            await self.poller.stop()

    async def close(self) -> None:
        """Every model is gone: remove what came with requests."""
        await self._follower.stop()
        await asyncio.to_thread(self._uploads.close)

    async def index(self) -> list[Record]:
        """Every version that is known and, where clients load models, every model that they could load."""
        if self.mode != EXPLICIT:
            return self._engine.index()
        there = await self._look()
        self._follower.forget(there, awaited=False)
        known = self._engine.index()
        names = {record.name for record in known}
        return sorted([*known, *(Record(name, "") for name in there if name not in names)], key=by_name)

    def answers(self, record: Record) -> bool:
        """Whether a loaded version answers at this moment."""
        try:
            return self._engine.find(record.name, record.version).ready
        except NotFound:  # unloaded since
            return False

    async def load(self, name: str, overrides: Overrides = NONE, who: str = "") -> None:
        """Load a model as the repository has it now, or as ``overrides`` say. Nothing happens where that is loaded.

        Raises Forbidden where the operator has chosen another mode, NotFound where there is no such model, and a
        LoadFailed; then what served before still does.
        """
        self._check(name)
        log.info("asked to load a model", extra={"model": name, "who": who})
        if overrides.files:
            while not await self._turns.take(
                name, overrides, partial(self._load_upload, name, overrides, who)
            ):
                pass
            return
        while True:
            offer = await self._offer(name, overrides)
            if await self._turns.take(name, offer, partial(self._load, offer, overrides, who)):
                return

    async def unload(self, name: str, who: str = "", *, dependents: bool = False) -> None:
        """Unload a model, and on request all that need it. Returns when no request finds them; what was accepted is
        answered. Nothing happens where it isn't loaded. Raises Forbidden."""
        self._check(name)
        log.info("asked to unload a model", extra={"model": name, "who": who})
        names = self._with_dependents(name) if dependents else [name]
        for each in reversed(names):
            while self._engine.registry.knows(each):
                if await self._turns.take(each, "unload", partial(self._follower.retire, each, who)):
                    break

    def _check(self, name: str) -> None:
        if self.mode != EXPLICIT:
            raise Forbidden(
                "models are loaded and unloaded on request only where server.control is 'explicit'"
            )
        try:
            check_name(name)
        except ConfigError as error:
            raise InvalidInput(f"{error}: {error.hint}") from None

    async def _look(self) -> Offers:
        assert self._repository is not None
        async with self._looking:
            return await asyncio.to_thread(self._repository.look)

    # Loading.

    async def _offer(self, name: str, overrides: Overrides) -> Offer:
        assert self._repository is not None
        if overrides.config:
            async with self._looking:
                read = partial(read_configured, self._repository, name, overrides.config)
                offer = await asyncio.to_thread(read)
        else:
            offer = (await self._look()).get(name)
        if offer is None:
            raise NotFound(f"there is no model {name!r} in the repository")
        return offer

    async def _load(self, offer: Offer, overrides: Overrides, who: str) -> None:
        document = {**REPOSITORY, **({"config": overrides.config} if overrides.config else {})}
        if not self._follower.is_current(offer):
            accept(offer, await self._follower.follow(offer, who, document))
        self._follower.forget({offer.name: offer}, offer.name)

    async def _load_upload(self, name: str, overrides: Overrides, who: str) -> None:
        server, defaults = self._settings.server, self._settings.models
        read = partial(
            read_upload, self._uploads, name, overrides, defaults, guess, trusted=server.trust_uploads
        )
        offer, upload = await asyncio.to_thread(read)
        try:
            failures = await self._follower.follow(offer, who, UPLOAD, upload)
        finally:
            await asyncio.to_thread(upload.release)
        accept(offer, failures)

    def _with_dependents(self, name: str) -> list[str]:
        """The model and all that need it, each before those that need it."""
        names = [name]
        for each in names:
            names += [other for other in self._dependents(each) if other not in names]
        return names

    # At the start.

    async def _start_named(self) -> None:
        there = await self._look()
        said = self._settings.server.load_model
        names = [*there] if said == ("*",) else list(said)
        wanted = [self._manager.desired(name) for name in self._manager.names()]
        restored = [self._restore(desired, there) for desired in wanted]
        others = [self._begin(name, there) for name in names if name not in self._manager.names()]
        await asyncio.gather(*restored, *others)

    async def _begin(self, name: str, there: Offers) -> None:
        offer = there.get(name)
        if offer is None:
            self._engine.lifecycle.fail(name, "", f"there is no model {name!r} in the repository")
        else:
            await self._follower.follow(offer)

    def _scale(self, name: str) -> Mapping[str, Wanted]:
        """In how many instances the versions of a model were wanted when the server ended."""
        return self._manager.desired(name).versions if name in self._manager.names() else {}

    async def _restore(self, desired: Desired, there: Offers) -> None:
        """Load the versions that were wanted when the server ended, in as many instances."""
        document = next((wanted.document for wanted in desired.versions.values()), {})
        if document.get("from") == UPLOAD["from"]:
            log.warning("a model came with a request and was not kept", extra={"model": desired.name})
            await self._manager.retire(desired.name, "the operator")
            return
        if document.get("from") != REPOSITORY["from"]:
            return  # somebody else loads it
        try:
            offer = await self._offer_again(desired, there, document.get("config", ""))
        except (NotFound, LoadFailed) as error:
            self._engine.lifecycle.fail(desired.name, "", error.message)
            return
        await self._follower.follow(offer, "", document, scale=desired.versions)

    async def _offer_again(self, desired: Desired, there: Offers, config: str) -> Offer:
        """Just the versions that were wanted, though the repository may have newer ones by now."""
        offer, versions = there.get(desired.name), [*desired.versions]
        if config or (offer is not None and not offer.versions.keys() >= desired.versions.keys()):
            fields = orjson.loads(config or "{}")
            if all(map(is_version, versions)):
                fields["version_policy"] = {"specific": {"versions": [int(version) for version in versions]}}
            config = orjson.dumps(fields).decode()
            return await self._offer(desired.name, Overrides(config))
        if offer is None:
            raise NotFound(f"there is no model {desired.name!r} in the repository")
        return offer.only(versions)
