"""What takes a while, and how far it is: started by somebody, looked at by anybody. Knows nothing of what is done."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from dragoman.errors import DragomanError, Internal

log = logging.getLogger("dragoman.engine")

#: Operations that have ended and are still told of.
KEPT: Final = 200


@dataclass(slots=True, eq=False)
class Operation:
    """``step`` is what is being done, for people; of ``total`` bytes (0 where nobody knows) ``done`` are there."""

    what: str
    step: str = ""
    done: int = 0
    total: int = 0
    error: DragomanError | None = None
    result: Any = None
    finished: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = field(default_factory=time.time)

    def progressed(self, done: int, total: int | None) -> None:
        self.done, self.total = done, total or 0


class Operations:
    """The newest operations, by id."""

    def __init__(self) -> None:
        self._operations: dict[str, Operation] = {}
        self._tasks: dict[asyncio.Task[None], Operation] = {}

    def start(
        self,
        what: str,
        work: Callable[[Operation], Awaitable[Any]],
        then: Callable[[Operation], None] | None = None,
    ) -> Operation:
        """Begin; ``then`` is called when it has ended, one way or the other."""
        operation = Operation(what)
        self._operations[operation.id] = operation
        task = asyncio.get_running_loop().create_task(self._run(operation, work, then))
        self._tasks[task] = operation
        task.add_done_callback(self._tasks.pop)
        return operation

    def find(self, id: str) -> Operation | None:  # noqa: A002 - it is called that
        return self._operations.get(id)

    def all(self) -> list[Operation]:
        """Oldest first."""
        return list(self._operations.values())

    async def stop(self) -> None:
        """Give up whatever has not ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self,
        operation: Operation,
        work: Callable[[Operation], Awaitable[Any]],
        then: Callable[[Operation], None] | None,
    ) -> None:
        try:
            operation.result = await work(operation)
        except DragomanError as error:
            operation.error = error
        except Exception as error:
            failure = secrets.token_hex(4)
            log.exception("%s failed", operation.what, extra={"id": failure}, exc_info=error)
            operation.error = Internal(f"it failed; the server's log has it under id {failure}")
        finally:
            operation.finished, operation.step = True, ""
            self._forget()
        if then is not None:
            then(operation)

    def _forget(self) -> None:
        ended = [operation for operation in self._operations.values() if operation.finished]
        for operation in ended[:-KEPT]:
            del self._operations[operation.id]
