"""The bounded queue between the event loop, which must not wait, and the thread that writes.

::

    event loop ──put──► queue ──► thread ──► writer
       └── no room: dropped            └── fails: counted, and told once
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable
from math import ceil
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from dragoman.config import PayloadSettings
from dragoman.payloads.event import REQUEST, RESPONSE, Payload
from dragoman.payloads.writers import FileWriter, HttpWriter, Writer

log = logging.getLogger("dragoman.payloads")

#: Bytes that each payload takes beside its own.
_OVERHEAD: Final = 512
#: Payloads that are written in one go, at most.
_BATCH: Final = 64

Piece = bytes | bytearray | memoryview


class PayloadLog:
    """``wanted``, ``takes``, ``copy`` and ``put`` are for the event loop's thread. ``counts`` is for all."""

    def __init__(self, settings: PayloadSettings) -> None:
        """Raises ConfigError for places that can't be written to."""
        attributes = {
            "source": settings.source,
            "inferenceservicename": settings.service,
            "namespace": settings.namespace,
            "component": settings.component,
            "endpoint": settings.endpoint,
        }
        common = {name: value for name, value in attributes.items() if value}
        self._writers: list[Writer] = []
        if settings.file:
            self._writers.append(FileWriter(settings.file, common))
        if settings.url:
            self._writers.append(HttpWriter(settings.url, common))
        self._types = {"all": (REQUEST, RESPONSE), "request": (REQUEST,), "response": (RESPONSE,)}[
            settings.mode
        ]
        self._sample = settings.sample
        self._seen = 0
        self._room = settings.buffer
        self.counts = Counter(sent=0, failed=0, dropped=0)
        self._queue: SimpleQueue[Payload | None] = SimpleQueue()
        self._taken = 0  # bytes, written by the event loop's thread only
        self._written = 0  # bytes, written by the other thread only
        self._deadline = float("inf")
        self._failing: set[Writer] = set()
        self._thread = Thread(target=self._run, name="dragoman-payloads", daemon=True)

    def start(self) -> None:
        """From now on what is put is written."""
        self._thread.start()

    def wanted(self) -> bool:
        """Whether the next request, and its answer, are among those that are kept: exactly the share."""
        before = ceil(self._seen * self._sample)
        self._seen += 1
        return ceil(self._seen * self._sample) > before

    def takes(self, kind: str) -> bool:
        """Whether payloads of this type are kept."""
        return kind in self._types

    @property
    def room(self) -> int:
        """Bytes that may be put."""
        return self._room - (self._taken - self._written) - _OVERHEAD

    def copy(self, pieces: Iterable[Piece]) -> bytes | None:
        """The bytes, for ``put``, before whoever lent them takes them back; ``None`` if there is no room for them."""
        pieces = list(pieces)
        size = sum(piece.nbytes if isinstance(piece, memoryview) else len(piece) for piece in pieces)
        if size <= self.room:
            return b"".join(pieces)
        self.drop()
        return None

    def put(self, kind: str, request_id: str, subject: str, content_type: str, body: bytes) -> None:
        """Keep a payload. What has room for ``copy`` is kept, whoever has come in between."""
        self._taken += len(body) + _OVERHEAD
        self._queue.put(Payload(kind, request_id, subject, content_type, body, time.time()))

    def drop(self) -> None:
        """Count one that is not kept."""
        self.counts["dropped"] += 1

    def close(self, patience: float) -> None:
        """Write what waits, for so many seconds; then give up the rest. Blocks."""
        if not self._thread.is_alive():
            return
        self._deadline = time.monotonic() + patience
        self._queue.put(None)
        self._thread.join(patience + 1)

    # The thread.

    def _run(self) -> None:
        more = True
        while more:
            batch: list[Payload] = []
            more = self._gather(batch)
            self._write(batch)
            self._written += sum(len(payload.body) + _OVERHEAD for payload in batch)
        for writer in self._writers:
            writer.close()

    def _gather(self, batch: list[Payload]) -> bool:
        """Wait for one, take those that are there; says whether more may come."""
        item = self._queue.get()
        try:
            while item is not None:
                batch.append(item)
                if len(batch) == _BATCH:
                    return True
                item = self._queue.get_nowait()
        except Empty:
            return True
        return False

    def _write(self, batch: list[Payload]) -> None:
        for writer in self._writers:
            for start in range(0, len(batch), writer.most):
                part = batch[start : start + writer.most]
                done = time.monotonic() < self._deadline and self._try(writer, part)
                self.counts["sent" if done else "failed"] += len(part)

    def _try(self, writer: Writer, part: list[Payload]) -> bool:
        try:
            writer.write(part)
        except Exception as error:  # whatever it is: the next ones have their chance
            self._tell(writer, error)
            return False
        self._tell(writer, None)
        return True

    def _tell(self, writer: Writer, error: Exception | None) -> None:
        """Say that it fails when it begins to, and that it works when it does again."""
        if error is not None and writer not in self._failing:
            self._failing.add(writer)
            log.warning("payloads can't be kept", extra={"reason": f"{type(error).__name__}: {error}"})
        elif error is None and writer in self._failing:
            self._failing.discard(writer)
            log.info("payloads are kept again")
