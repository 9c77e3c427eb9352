"""TorchServe's management API over HTTP. Thin: what is asked is in ``requests``, what is done in a ``Models``."""

from collections.abc import Sequence
from typing import Final

from dragoman.protocols.torchserve import codec, errors
from dragoman.protocols.torchserve.http import METHODS
from dragoman.protocols.torchserve.management import openapi
from dragoman.protocols.torchserve.management.requests import (
    decode_page,
    decode_query,
    decode_registration,
    decode_scaling,
    truth,
)
from dragoman.protocols.torchserve.management.service import Models, Said
from dragoman.protocols.torchserve.multipart import media_type
from dragoman.protocols.torchserve.port import Port
from dragoman.transport.request import Guard, Header, HttpRequest
from dragoman.transport.router import Router

ALL: Final = "all"


class Http(Port):
    """``/models`` and what is below it. Unless ``model_api`` is on, models are neither registered nor removed."""

    def __init__(self, models: Models, *, model_api: bool, headers: Sequence[Header] = ()) -> None:
        super().__init__(headers)
        self._models = models
        self._model_api = model_api
        self._paths = openapi.paths(model_api=model_api)

    def add_routes(self, router: Router, guard: Guard | None = None) -> None:
        """Every request passes the ``guard`` first, before any of its body is read."""
        for path in ("/models", "/models/"):
            router.add("GET", path, self.answering(self.list), permit=False, guard=guard)
            router.add("POST", path, self.answering_later(self.register), guard=guard)
            others = [method for method in METHODS if method not in ("GET", "HEAD", "POST")]
            router.add(others, path, self.answering(self.not_allowed), permit=False, guard=guard)
        path = (
            "/models/{*}"  # split here, as TorchServe does: after decoding, and blind to slashes at the end
        )
        router.add("GET", path, self.answering_later(self.describe_model), permit=False, guard=guard)
        router.add("PUT", path, self.answering_later(self.change), guard=guard)
        router.add("DELETE", path, self.answering_later(self.unregister), guard=guard)
        router.add("OPTIONS", path, self.answering(self.describe_paths), permit=False, guard=guard)
        others = [method for method in METHODS if method not in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")]
        router.add(others, path, self.answering(self.not_allowed), permit=False, guard=guard)
        router.add("GET", "/v1/models/{}", self.answering(self.kserve_ready), permit=False, guard=guard)

    def list(self, http: HttpRequest) -> None:
        self.answer(http, self._models.listing(decode_page(http.query)))

    async def register(self, http: HttpRequest) -> None:
        self._check_allowed()
        kind = media_type(http.header(b"content-type") or "")
        asked = decode_registration(http.body, kind, http.query)
        self._say(http, await self._models.register(asked, who(http)))

    async def describe_model(self, http: HttpRequest) -> None:
        """One version, or with the version ``all`` every one; ``?customized=true`` asks a worker, too."""
        name, version = _model_of(http)
        if version != ALL and truth(decode_query(http.query), "customized"):
            headers = codec.decode_headers(http.raw_headers(), len(http.body)) | {"describe": "True"}
            described = await self._models.describe_customized(name, version, headers)
            self.respond(http, 200, errors.encode_json(described), reason="")
        else:
            self.respond(http, 200, errors.encode_json(self._models.describe(name, version)))

    async def change(self, http: HttpRequest) -> None:
        """How many workers there are, or which version is the default."""
        parts = _split(http.params[0])
        if len(parts) == 3 and parts[2] == "set-default":
            said = await self._models.set_default(parts[0], parts[1], who(http))
        else:
            name, version = _model_of(http)
            asked = decode_scaling(http.query)
            said = await self._models.scale(name, version or asked.version, asked, who(http))
        self._say(http, said)

    async def unregister(self, http: HttpRequest) -> None:
        self._check_allowed()
        name, version = _model_of(http)
        self._say(http, await self._models.unregister(name, version, who(http)))

    def describe_paths(self, http: HttpRequest) -> None:
        """The part of the description that is about one model."""
        name, version = _model_of(http)
        self._models.describe(name, version)
        self.answer(http, openapi.describe_model(name, model_api=self._model_api))

    def kserve_ready(self, http: HttpRequest) -> None:
        name = http.params[0]
        self.answer(http, {"name": name, "ready": self._models.ready(name)})

    def _check_allowed(self) -> None:
        if not self._model_api:
            raise errors.method_not_allowed()

    def _say(self, http: HttpRequest, said: Said) -> None:
        self.answer(http, {"status": said.text}, said.status)


def who(http: HttpRequest) -> str:
    """Who asks for a change, for the records."""
    return f"management API, {http.client[0]}" if http.client else "management API"


def _split(path: str) -> Sequence[str]:
    """The segments below ``/models/``. Raises Refused where there are more than any path has."""
    parts = path.rstrip("/").split("/")
    if not parts[0] or len(parts) > 3:
        raise errors.resource_not_found()
    return parts


def _model_of(http: HttpRequest) -> tuple[str, str]:
    """``{model}[/{version}]``."""
    parts = _split(http.params[0])
    if len(parts) > 2:
        raise errors.resource_not_found()
    return parts[0], parts[1] if len(parts) == 2 else ""
