"""What TorchServe's ports beside the inference one have in common: a description, errors, headers of every answer.

TorchServe looks at few methods; neither does this.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any

from dragoman.errors import DragomanError, Internal
from dragoman.protocols.torchserve import errors
from dragoman.protocols.torchserve.http import METHODS, NO_CACHE, new_id
from dragoman.protocols.torchserve.openapi import describe_paths
from dragoman.transport.answer import lines_of
from dragoman.transport.request import Guard, Handler, Header, HttpRequest
from dragoman.transport.router import Router

log = logging.getLogger("dragoman.torchserve")

#: A handler whose answer takes a while. It goes on when its client has gone: what it changes is changed as a whole.
SlowHandler = Callable[[HttpRequest], Coroutine[Any, Any, None]]


class Port:
    """One port's API. ``headers`` are added to every answer."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self._common = lines_of((*headers, *NO_CACHE))
        self._paths: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add_common_routes(self, router: Router, guard: Guard | None = None) -> None:
        """What a port that is nobody else's too has at ``/``, and everywhere else."""
        router.add("OPTIONS", "/", self.answering(self.describe), permit=False)
        router.add("GET", "/api-description", self.answering(self.describe), permit=False)
        rest = [method for method in METHODS if method != "OPTIONS"]
        router.add(rest, "/", self.answering(self.not_allowed), permit=False, guard=guard)
        router.fallback(self.answering(self.not_found), streaming=False, guard=guard)

    def describe(self, http: HttpRequest) -> None:
        """The OpenAPI document."""
        self.answer(http, describe_paths(self._paths))

    def not_allowed(self, http: HttpRequest) -> None:
        raise errors.method_not_allowed()

    def not_found(self, http: HttpRequest) -> None:
        raise errors.resource_not_found()

    def answering(self, handler: Handler) -> Handler:
        """``handler``, with TorchServe's answer for what it raises."""

        @wraps(handler)
        def answered(http: HttpRequest) -> None:
            try:
                handler(http)
            except DragomanError as error:
                self.fail(http, error)

        return answered

    def answering_later(self, handler: SlowHandler) -> Handler:
        """The same for a handler that takes a while."""

        async def run(http: HttpRequest) -> None:
            try:
                await handler(http)
            except DragomanError as error:
                self.fail(http, error)
            except Exception:
                failure = secrets.token_hex(4)
                log.exception("%s %s failed", http.method, http.path, extra={"id": failure})
                self.fail(http, Internal(f"internal error, see the server's log under id {failure}"))

        @wraps(handler)
        def answered(http: HttpRequest) -> None:
            task = asyncio.get_running_loop().create_task(run(http))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return answered

    def fail(self, http: HttpRequest, error: DragomanError) -> None:
        failure = errors.describe(error)
        headers = (("Retry-After", str(failure.retry_after)),) if failure.retry_after else ()
        self.respond(http, failure.status, errors.encode_failure(failure), headers=headers)

    def answer(
        self, http: HttpRequest, document: Mapping[str, Any], status: int = 200, reason: str | None = None
    ) -> None:
        self.respond(http, status, errors.encode_json(document), reason=reason)

    def respond(
        self,
        http: HttpRequest,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        *,
        headers: Sequence[Header] = (),
        reason: str | None = None,
    ) -> None:
        all_headers = (("x-request-id", new_id()), *headers)
        http.respond(status, body, content_type, all_headers, common=self._common, reason=reason)
