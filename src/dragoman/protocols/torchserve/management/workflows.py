"""Workflows over HTTP: ``/workflows`` on the management port, ``/wfpredict`` on the inference port."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from dragoman.protocols.torchserve import codec, errors
from dragoman.protocols.torchserve.http import METHODS, new_id
from dragoman.protocols.torchserve.management.http import who
from dragoman.protocols.torchserve.management.requests import decode_page, decode_workflow
from dragoman.protocols.torchserve.management.service import Said, Workflows
from dragoman.protocols.torchserve.multipart import media_type
from dragoman.protocols.torchserve.port import Port
from dragoman.transport.request import Guard, Header, HttpRequest
from dragoman.transport.router import Router


class WorkflowHttp(Port):
    """Unless ``model_api`` is on, workflows are neither registered nor removed: they bring models."""

    def __init__(self, workflows: Workflows, *, model_api: bool, headers: Sequence[Header] = ()) -> None:
        super().__init__(headers)
        self._workflows = workflows
        self._model_api = model_api

    def add_management_routes(self, router: Router, guard: Guard | None = None) -> None:
        """Every request passes the ``guard`` first, before any of its body is read."""
        for path in ("/workflows", "/workflows/"):
            router.add("GET", path, self.answering(self.list), permit=False, guard=guard)
            router.add("POST", path, self.answering_later(self.register), guard=guard)
            others = [method for method in METHODS if method not in ("GET", "HEAD", "POST")]
            router.add(others, path, self.answering(self.not_allowed), permit=False, guard=guard)
        path = "/workflows/{*}"
        router.add("GET", path, self.answering(self.describe_workflow), permit=False, guard=guard)
        router.add("DELETE", path, self.answering_later(self.unregister), guard=guard)
        others = [method for method in METHODS if method not in ("GET", "HEAD", "DELETE")]
        router.add(others, path, self.answering(self.not_allowed), permit=False, guard=guard)

    def add_inference_routes(self, router: Router, guard: Guard | None = None) -> None:
        """As with predictions the method isn't looked at."""
        router.add(METHODS, "/wfpredict/{*}", self.answering_later(self.predict), guard=guard)

    def list(self, http: HttpRequest) -> None:
        self.answer(http, self._workflows.listing(decode_page(http.query)))

    async def register(self, http: HttpRequest) -> None:
        self._check_allowed()
        kind = media_type(http.header(b"content-type") or "")
        asked = decode_workflow(http.body, kind, http.query)
        self._say(http, await self._workflows.register(asked, who(http)))

    def describe_workflow(self, http: HttpRequest) -> None:
        self.respond(http, 200, errors.encode_json(self._workflows.describe(_name(http))))

    async def unregister(self, http: HttpRequest) -> None:
        self._check_allowed()
        self._say(http, await self._workflows.unregister(_name(http), who(http)))

    async def predict(self, http: HttpRequest) -> None:
        """The answer is called JSON whatever it is, as TorchServe does."""
        http.on_disconnect = _give_up(asyncio.current_task())
        inputs = codec.decode_inputs(http.body, http.header(b"content-type") or "")
        headers = codec.decode_headers(http.raw_headers(), len(http.body))
        request = codec.make_request(http.params[0].split("/")[0], "", new_id(), inputs, headers)
        self.respond(http, 200, await self._workflows.predict(request))

    def _check_allowed(self) -> None:
        if not self._model_api:
            raise errors.method_not_allowed()

    def _say(self, http: HttpRequest, said: Said) -> None:
        self.answer(http, {"status": said.text}, said.status)


def _name(http: HttpRequest) -> str:
    parts = http.params[0].rstrip("/").split("/")
    if not parts[0] or len(parts) > 2:
        raise errors.resource_not_found()
    return parts[0]


def _give_up(task: "asyncio.Task[Any] | None") -> Callable[[], None]:
    """Nobody waits for the answer any more: neither does the workflow."""

    def gone() -> None:
        if task is not None:
            task.cancel()

    return gone
