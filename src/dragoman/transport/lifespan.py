"""The start and the end of an ASGI application: its lifespan protocol. Knows no request and no HTTP.

new ──startup──► starting ──complete──► running ──shutdown──► stopped
                    ├── failed: raised, with the application's message
                    └── the app raises or returns: it has no lifespan, and that is fine
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)


class Lifespan:
    """One application's lifespan. ``state`` is what the application put there for its requests to see."""

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._event = ""  # what the application was asked last
        self._said = ""  # what it answered last
        self._answer: asyncio.Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Returns when the application is ready. Raises RuntimeError with the message of one that is not."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        answer = await self._ask("startup")
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            await self._task
            raise RuntimeError(f"the application did not start: {answer.get('message', '')}")

    async def shutdown(self) -> None:
        """Returns when the application has cleaned up; a failure is logged."""
        if self._task is None:
            return
        if not self._task.done():
            answer = await self._ask("shutdown")
            if answer is not None and answer["type"] == "lifespan.shutdown.failed":
                log.error("the application did not shut down cleanly: %s", answer.get("message", ""))
        await self._task
        self._task = None

    async def _ask(self, event: str) -> Message | None:
        """The application's answer to an event; ``None`` when it ends without one."""
        assert self._task is not None
        self._event = event
        self._answer = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": f"lifespan.{event}"})
        await asyncio.wait((self._answer, self._task), return_when=asyncio.FIRST_COMPLETED)
        return self._answer.result() if self._answer.done() else None

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except Exception as error:
            if self._said == "":
                # ASGI: an exception from a lifespan scope means that the application doesn't support it.
                log.info("the application has no lifespan (%r)", error)
            elif not self._said.endswith(".failed"):
                log.exception("the application's lifespan ended with an error")

    async def _send(self, message: Message) -> None:
        if message["type"] == "lifespan.shutdown.failed" and self._event != "shutdown":
            return  # what Starlette says when it is cancelled because the server doesn't start
        allowed = (f"lifespan.{self._event}.complete", f"lifespan.{self._event}.failed")
        if self._answer is None or self._answer.done() or message["type"] not in allowed:
            raise RuntimeError(f"unexpected ASGI message {message['type']!r} in the lifespan")
        self._said = message["type"]
        self._answer.set_result(message)
