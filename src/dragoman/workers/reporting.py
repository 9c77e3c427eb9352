"""How a model's own metrics get to the server: together, now and then, and checked where they arrive.

The thread that sends them sleeps as long as there are none, so a model that measures nothing costs nothing.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any, Final

from dragoman.model_metrics import LONGEST_REQUESTS, MOST_PENDING, Pending, Value, is_sound
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


def encode_values(values: Sequence[Value]) -> Iterator[dict[str, Any]]:
    """Messages of values, each for JSON and of limited length. What values have in common is said once in each."""
    series: dict[Any, int] = {}
    rows: list[list[Any]] = []
    size = 0
    for value in values:
        key = value[:4]
        size += len(value.requests) * _CHARACTER + _REST
        if key not in series:
            size += _length(value)
        if rows and (len(rows) == MOST_VALUES or size > LONGEST):
            yield {"series": list(series), "values": rows}
            series, rows, size = {}, [], len(value.requests) * _CHARACTER + _REST + _length(value)
        rows.append([series.setdefault(key, len(series)), *value[4:]])
    if rows:
        yield {"series": list(series), "values": rows}


def _length(value: Value) -> int:
    """Bytes that its series may take in a message."""
    texts = (value.name, value.unit, *(text for pair in value.labels for text in pair))
    return sum(map(len, texts)) * _CHARACTER + _REST


def decode_values(message: Any) -> list[Value]:
    """For the server's side, which trusts nothing: raises Damaged, and what else a message of another form leads to."""
    series = [_series(item) for item in message["series"]]
    if len(message["values"]) > MOST_VALUES:
        raise Damaged("too many values of metrics")
    return [_value(series, *item) for item in message["values"]]


def _series(item: Any) -> Value:
    """What values of one series have in common, with a value that stands for all."""
    name, kind, unit, labels = item
    if not all(
        isinstance(text, str) for text in (name, kind, unit, *(text for pair in labels for text in pair))
    ):
        raise Damaged("a metric of the wrong form")
    series = Value(name, kind, unit, tuple((key, text) for key, text in labels), 0.0)
    if not is_sound(series):
        raise Damaged("a metric that makes no sense")
    return series


def _value(series: list[Value], place: Any, number: Any, requests: Any, time: Any) -> Value:
    if (
        type(number) is not float
        or type(time) is not float
        or type(requests) is not str
        or type(place) is not int
    ):
        raise Damaged("a metric's value of the wrong form")
    if not isfinite(number + time) or len(requests) > LONGEST_REQUESTS or place < 0:
        raise Damaged("a metric's value that makes no sense")
    name, kind, unit, labels, *_ = series[place]
    return Value(name, kind, unit, labels, number, requests, time)
