"""Metrics as lines in files, in the modes "log" and "legacy": ts_metrics.log and model_metrics.log.

::

    2026-11-21T22:46:31,734 - PredictionTime.ms:0.03|#ModelName:echo,Level:Model|#hostname:H,requestID:4…,timestamp:1…

Of handlers' metrics every value is a line. Of the server's counts a line is what came since the last one, once a
second and only if something did: sums over lines are TorchServe's, which writes one for each request.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from dragoman.metrics.torchserve import Sample, View, java_double
from dragoman.model_metrics import COUNTER, MOST_SERIES, Labels, Value

log = logging.getLogger("dragoman.torchserve")

SERVER_FILE: Final = "ts_metrics.log"
MODEL_FILE: Final = "model_metrics.log"
#: Seconds between two looks at the counts.
PAUSE: Final = 1.0
#: A file's bytes before another one is begun, and how many old ones stay: as in TorchServe's log4j2.xml.
LARGEST: Final = 100 * 2**20
KEPT: Final = 5


class _File(RotatingFileHandler):
    """Tells its writer what goes wrong."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        raise


class LogFile:
    """A file that lines are added to by a thread, so that a slow disk holds nobody up. Closed once, at the end.

    Lines that can't be written are lost, and the first failure is told.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: SimpleQueue[list[str] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=path.name, daemon=True)
        self._thread.start()

    def write(self, lines: list[str]) -> None:
        if lines:
            self._lines.put(lines)

    def close(self) -> None:
        """Write what there is, and end."""
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        file: _File | None = None
        failed = False
        while (lines := self._lines.get()) is not None:
            try:
                if file is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    file = _File(self._path, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8")
                file.emit(logging.makeLogRecord({"msg": "\n".join(lines)}))
            except OSError as error:
                if not failed:
                    fields = {"file": self._path.name, "reason": error.strerror}
                    log.error("metrics can't be written", extra=fields)
                failed = True
        if file is not None:
            file.close()


class MetricsLog:
    """Writes both files in ``folder``. ``samples`` tells the server's counts, ``measure`` the host's numbers.

    ``interval`` is in seconds; ``clock`` tells seconds since 1970.
    """

    def __init__(
        self,
        view: View,
        folder: Path,
        samples: Callable[[], Iterable[Sample]],
        measure: Callable[[], Iterable[Sample]],
        interval: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._samples, self._measure = samples, measure
        self._interval, self._clock = interval, clock
        self._server, self._model = LogFile(folder / SERVER_FILE), LogFile(folder / MODEL_FILE)
        self._frames: dict[tuple[str, str, Labels], tuple[str, str]] = {}
        self._before: dict[tuple[str, tuple[str, ...]], float] = {}
        self._measured = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again and again."""
        self.look()
        self._timer = loop.call_later(PAUSE, self.start, loop)

    def close(self) -> None:
        """Write the last counts, and end."""
        if self._timer is not None:
            self._timer.cancel()
        self.look()
        self._server.close()
        self._model.close()

    def look(self) -> None:
        """Write what the counts have gone up by, and how the host is if it is time."""
        now = self._clock()
        lines = [self._line(sample, now) for sample in self._news()]
        if self._interval and now >= self._measured + self._interval:
            self._measured = now
            lines += [self._line(sample, now) for sample in self._measure()]
        self._server.write(list(filter(None, lines)))

    def take(self, values: Sequence[Value]) -> None:
        """Write what handlers' metrics were given."""
        now = self._clock()
        stamp = _stamp(now)
        lines = []
        for value in values:
            if self._view.shows(value.name):
                start, end = self._frame(value.name, value.unit, value.labels)
                ids = f",requestID:{value.requests}" if value.requests else ""
                line = (
                    f"{stamp}{start}{java_double(value.value)}{end}{ids},timestamp:{int(value.time or now)}"
                )
                lines.append(line if line.isprintable() else _on_one_line(line))
        self._model.write(lines)

    def _news(self) -> Iterator[Sample]:
        for sample in self._samples():
            key = sample[:2]
            before = self._before.get(key, 0.0)
            if sample.value != before:
                self._before[key] = sample.value
                declared = self._view.frontend.get(sample.name)
                counts = declared is not None and declared.kind == COUNTER
                yield sample._replace(value=sample.value - before) if counts else sample

    def _line(self, sample: Sample, now: float) -> str:
        labels = self._view.named(sample)
        if labels is None:
            return ""
        start, end = self._frame(sample.name, self._view.frontend[sample.name].unit, labels)
        return f"{_stamp(now)}{start}{java_double(sample.value)}{end},timestamp:{int(now)}"

    def _frame(self, name: str, unit: str, labels: Labels) -> tuple[str, str]:
        """What is always the same around a value."""
        key = (name, unit, labels)
        if key not in self._frames:
            if len(self._frames) > MOST_SERIES:
                self._frames.clear()
            dimensions = ",".join(f"{label}:{text}" for label, text in labels)
            self._frames[key] = f" - {name}.{unit}:", f"|#{dimensions}|#hostname:{self._view.host}"
        return self._frames[key]


def _stamp(now: float) -> str:
    """Local time, as log4j's ISO8601 has it."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))
    return f"{whole},{int(now * 1000) % 1000:03}"


def _on_one_line(line: str) -> str:
    """Whatever a model wrote into a name or a label stays on its line."""
    return "".join(character if character.isprintable() else " " for character in line)
