"""How long one fetch may take, and whether it is still wanted. Knows nothing of what is fetched.

A thread that blocks can't be stopped from outside. So sockets ask here how long they may wait, and are woken when
the fetch is given up; what can't be woken, such as asking for the address of a name, runs on a thread of its own that
is left behind when the time is up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, NoReturn, TypeVar

from dragoman.errors import Cancelled

T = TypeVar("T")
Wake = Callable[[], object]

CANCELLED: Final = "the fetch was cancelled"


class Effort:
    """One fetch's time: ``seconds`` in all, and ``idle`` seconds without any progress. ``cancel`` is for any thread."""

    def __init__(self, seconds: float, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._clock = clock
        self._end = clock() + seconds
        self._lock = Lock()
        self._cancelled = False
        self._wakes: list[Wake] = []

    def check(self) -> None:
        """Raises Cancelled once the fetch has been given up."""
        if self._cancelled:
            raise Cancelled(CANCELLED)

    def left(self) -> float:
        """Seconds that the next step may wait. Raises Cancelled and TimeoutError."""
        self.check()
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return min(left, self._idle)

    def cancel(self) -> None:
        """Give the fetch up: whatever waits wakes and raises Cancelled."""
        with self._lock:
            self._cancelled = True
            for wake in self._wakes:
                wake()

    @contextmanager
    def waking(self, wake: Wake) -> Iterator[None]:
        """Calls ``wake`` if the fetch is given up in the meantime; it must not block, nor raise."""
        with self._lock:
            self._wakes.append(wake)
        try:
            self.left()
            yield
        finally:
            with self._lock:
                self._wakes.remove(wake)

    def call(self, function: Callable[[], T]) -> T:
        """``function()``, whose thread is left alone when the time is up: it must not change anything."""
        outcomes: SimpleQueue[Callable[[], T]] = SimpleQueue()

        def work() -> None:
            try:
                value = function()
            except BaseException as error:
                outcomes.put(partial(_raise, error))
            else:
                outcomes.put(lambda: value)

        with self.waking(lambda: outcomes.put(partial(_raise, Cancelled(CANCELLED)))):
            Thread(target=work, name="dragoman-fetch", daemon=True).start()
            try:
                return outcomes.get(timeout=self.left())()
            except Empty:
                raise TimeoutError from None


def _raise(error: BaseException) -> NoReturn:
    raise error
