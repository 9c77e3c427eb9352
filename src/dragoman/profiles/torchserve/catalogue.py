"""What is registered, and what clients are told of it. Changes nothing."""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dragoman.engine.engine import Engine
from dragoman.errors import NotFound
from dragoman.profiles.torchserve import describing
from dragoman.profiles.torchserve.settings import Configuration
from dragoman.profiles.torchserve.store import Registered
from dragoman.protocols.torchserve import codec, errors
from dragoman.protocols.torchserve.http import DIALECT, new_id
from dragoman.protocols.torchserve.management import Document, Page, refusals
from dragoman.types import InferRequest

log = logging.getLogger("dragoman.torchserve")

ALL: Final = "all"


class Catalogue:
    """Every version that was registered and has not gone, in the order they came."""

    def __init__(self, engine: Engine, configuration: Configuration, models: Iterable[Registered]) -> None:
        self._engine = engine
        self._sequence = codec.SequenceHeaders(*configuration.sequence_headers)
        self._models = {model.key: model for model in models}
        self._at_start = {model.source.name for model in self._models.values()}

    def models(self) -> list[Registered]:
        return list(self._models.values())

    def listing(self, page: Page) -> Document:
        registry = self._engine.registry
        names = sorted({name for (name, _), model in self._models.items() if not model.hidden})
        found = [(name, self._models.get((name, registry.default(name)))) for name in names]
        urls = [(name, model.url) for name, model in found if model is not None]
        document: Document = {}
        if page.start + page.limit <= len(urls):  # as recorded: at the very end, too
            document["nextPageToken"] = str(page.start + page.limit)
        shown = urls[page.start : page.start + page.limit]
        document["models"] = [{"modelName": name, "modelUrl": url} for name, url in shown]
        return document

    def describe(self, name: str, version: str) -> list[Document]:
        if version != ALL:
            return [self._describe(self._find(name, version))]
        self._find(name, "")
        return [self._describe(model) for model in self._models.values() if model.source.name == name]

    async def describe_customized(
        self, name: str, version: str, headers: Mapping[str, str]
    ) -> list[Document]:
        registered = self._find(name, version)
        try:
            model = self._engine.find(*registered.key)
        except NotFound:
            raise refusals.no_describer(name) from None
        if not model.instances and not model.sleeps:
            raise refusals.no_describer(name)
        told, sequence = dict(headers), None
        if model.settings.sequences:  # one of its own, which ends with this request
            sequence, _ = codec.decode_sequence(told, new_id, self._sequence)
            sequence["sequence_end"] = True
        request = codec.make_request(*registered.key, new_id(), {}, told, sequence)
        said = await self._ask(request)
        return [self._describe(registered) | {"customizedMetadata": said}]

    def ready(self, name: str) -> bool:
        model = self._find(name, "")
        return model.key[1] in self._engine.registry.versions(name) and bool(
            self._engine.find(*model.key).instances
        )

    def _find(self, name: str, version: str) -> Registered:
        """Raises Refused. Without a version the default."""
        found = self._models.get((name, version or self._engine.registry.default(name)))
        if found is not None:
            return found
        if version and any(known == name for known, _ in self._models):
            raise errors.version_not_found(name, version)
        raise errors.model_not_found(name)

    def _describe(self, model: Registered) -> Document:
        name, version = model.key
        if version in self._engine.registry.versions(name):
            loaded = self._engine.find(name, version)
            workers, waiting = loaded.reports, loaded.stats.waiting
        else:
            workers, waiting = describing.expected(model), 0
        return describing.describe(model, workers, waiting=waiting, at_start=name in self._at_start)

    async def _ask(self, request: InferRequest) -> Any:
        answer = codec.encode_answer(await self._engine.ask(request, DIALECT))
        try:
            said = json.loads(answer.body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            log.warning("what a model says of itself should be a dictionary", extra={"model": request.model})
            return {}
        return describing.without_nulls(said)
