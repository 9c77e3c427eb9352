"""How a model's own metrics get to the server: together, now and then, and checked where they arrive.

The thread that sends them sleeps as long as there are none, so a model that measures nothing costs nothing.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from dragoman.model_metrics import MOST_PENDING, Pending, Value, is_sound
from dragoman.workers.shared import Damaged

log = logging.getLogger("dragoman.workers")

#: Seconds that values wait for company: what a death may take with it, and how old numbers may be.
PAUSE: Final = 0.1
#: Values in one message, bytes that one may have, and that a character or the rest of a value may take.
MOST_VALUES: Final = 1000
LONGEST: Final = 1_048_576
_CHARACTER: Final = 12
_REST: Final = 200

Take = Callable[[Sequence[Value]], None]


class Reporter:
    """Sends what ``pending`` gets on its way, from a thread of its own."""

    def __init__(self, pending: Pending, send: Take) -> None:
        self._pending = pending
        self._send = send
        self._closing = threading.Event()
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name="model metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left. Nothing more is measured."""
        self._closing.set()
        self._pending.wake()
        self._thread.join()
        self._flush()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._pending.wait()
            self._closing.wait(PAUSE)
            self._flush()

    def _flush(self) -> None:
        values = self._pending.take()
        if values:
            self._send(values)
        if self._pending.left_out > self._left_out:
            left_out, self._left_out = self._pending.left_out - self._left_out, self._pending.left_out
            log.warning("%d values of metrics were left out: the model has too many", left_out)


class Outlet:
    """Where a model's values come out in the server. Those that come before anybody listens are kept, the newest."""

    def __init__(self) -> None:
        self._kept: deque[Value] = deque(maxlen=MOST_PENDING)
        self._take: Take | None = None

    def put(self, values: Sequence[Value]) -> None:
        if self._take is None:
            self._kept.extend(values)
        else:
            self._take(values)

    def connect(self, take: Take) -> None:
        """From now on ``take`` gets everything."""
        self._take = take
        if self._kept:
            take([self._kept.popleft() for _ in range(len(self._kept))])


def encode_values(values: Sequence[Value]) -> Iterator[list[Any]]:
    """Messages of values, each for JSON and of limited length."""
    message: list[Any] = []
    size = 0
    for value in values:
        texts = (value.name, value.unit, value.requests, *(text for pair in value.labels for text in pair))
        length = sum(map(len, texts)) * _CHARACTER + _REST
        if message and (len(message) == MOST_VALUES or size + length > LONGEST):
            yield message
            message, size = [], 0
        message.append(list(value))
        size += length
    if message:
        yield message


def decode_values(message: Any) -> list[Value]:
    """For the server's side, which trusts nothing: raises Damaged."""
    if not isinstance(message, list) or len(message) > MOST_VALUES:
        raise Damaged("metrics of the wrong form")
    return [_decode(item) for item in message]


def _decode(item: Any) -> Value:
    name, kind, unit, labels, value, requests, time = item
    texts = [name, kind, unit, requests, *(text for pair in labels for text in pair)]
    if not all(isinstance(text, str) for text in texts) or not all(
        type(n) in (int, float) for n in (value, time)
    ):
        raise Damaged("a metric's value of the wrong form")
    found = Value(
        name, kind, unit, tuple((key, text) for key, text in labels), float(value), requests, float(time)
    )
    if not is_sound(found):
        raise Damaged("a metric's value that makes no sense")
    return found
