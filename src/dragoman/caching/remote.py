"""Answers that lie somewhere else, behind calls that block: a thread asks for many at once, and the loop never waits.

Where the other side fails it is left alone for a moment, and until then nothing is there.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from dragoman.caching.cache import Then
from dragoman.caching.entries import decode_entry, encode_entry, own
from dragoman.errors import DragomanError
from dragoman.types import InferResponse

log = logging.getLogger("dragoman.caching")

#: Keys that are asked for at once.
MOST: Final = 512
#: Questions and answers that may wait for the thread; what comes on top is not asked, and not kept.
WAITING: Final = 10_000
#: Seconds in which a place that failed is not asked again.
REST: Final = 1.0

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)
#: Makes one answer of what was found for the keys of one question. Called on the thread; raises ValueError.
Read = Callable[[Sequence[bytes | None]], InferResponse | None]


class Place(Protocol[K_contra]):
    """Where entries lie. Every call blocks and may raise anything."""

    def get_many(self, keys: Sequence[K_contra]) -> Sequence[bytes | None]: ...
    def close(self) -> None: ...


class Shelf(Place[bytes], Protocol):
    """A place that takes entries, too."""

    def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None: ...
    def clear(self, prefix: bytes) -> None: ...


class _Question(NamedTuple):
    keys: Sequence[Any]
    read: Read
    then: Then


class Remote(Generic[K]):
    """Asks one place, on a thread of its own. All but the thread happens on the event loop's thread."""

    def __init__(self, place: Place[K], name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._name = name
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[_Question | Callable[[], None] | None] = SimpleQueue()
        self._rests_until = 0.0
        self._thread = threading.Thread(target=self._run, name=f"dragoman {name}", daemon=True)
        self._thread.start()

    @property
    def rests(self) -> bool:
        """It has failed a moment ago, or has too much to do."""
        return self._clock() < self._rests_until or self._work.qsize() >= WAITING

    def ask(self, keys: Sequence[K], read: Read, then: Then) -> None:
        """Find the entries of all the keys, make an answer of them, and tell it."""
        if self.rests:
            then(None, True)
        else:
            self._work.put(_Question(keys, read, then))

    def do(self, work: Callable[[], None]) -> None:
        """Call it on the thread, after what was asked before."""
        self._work.put(work)

    def close(self) -> None:
        """What was asked before is still answered. Blocks."""
        self._work.put(None)
        self._thread.join()

    # On the thread.

    def _run(self) -> None:
        while True:
            batch = [self._work.get()]
            with suppress(Empty):
                while len(batch) < MOST:
                    batch.append(self._work.get_nowait())
            questions: list[_Question] = []
            for each in batch:
                if isinstance(each, _Question):
                    questions.append(each)
                elif each is not None:
                    self._answer(questions)
                    questions = []
                    self._try(each)
            self._answer(questions)
            if None in batch:
                self._try(self._place.close)
                return

    def _answer(self, questions: Sequence[_Question]) -> None:
        if not questions:
            return
        answers: list[tuple[Then, InferResponse | None, bool]]
        try:
            keys = list(dict.fromkeys(key for question in questions for key in question.keys))
            found = dict(zip(keys, self._place.get_many(keys), strict=True))
        except Exception as error:
            self._fail(error)
            answers = [(question.then, None, True) for question in questions]
        else:
            answers = [
                (question.then, *self._read(question, [found[key] for key in question.keys]))
                for question in questions
            ]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_tell, answers)

    def _read(
        self, question: _Question, entries: Sequence[bytes | None]
    ) -> tuple[InferResponse | None, bool]:
        try:
            return question.read(entries), False
        except (ValueError, DragomanError) as error:
            log.warning("a kept answer can't be read", extra={"place": self._name, "reason": str(error)})
            return None, True

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._clock() >= self._rests_until:
            log.warning(
                "kept answers can't be had, models are asked instead",
                extra={"place": self._name, "reason": str(error) or type(error).__name__},
            )
        self._rests_until = self._clock() + REST


class RemoteCache:
    """A ``Cache`` over a shelf of entries. What is put there in one go goes there in one go."""

    def __init__(self, shelf: Shelf, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._remote = Remote(shelf, name, clock)
        self._lock = threading.Lock()
        self._new: list[tuple[bytes, InferResponse]] = []

    def get(self, key: bytes, then: Then) -> None:
        self._remote.ask((key,), _read_one, then)

    def put(self, key: bytes, answer: InferResponse) -> None:
        if self._remote.rests:
            return
        with self._lock:
            self._new.append((key, own(answer)))
            first = len(self._new) == 1
        if first:
            self._remote.do(self._put_all)

    def clear(self, prefix: bytes = b"") -> None:
        self._remote.do(lambda: self._shelf.clear(prefix))

    def close(self) -> None:
        self._remote.close()

    def _put_all(self) -> None:
        with self._lock:
            entries, self._new = self._new, []
        self._shelf.put_many([(key, encode_entry(answer)) for key, answer in entries])


def _read_one(entries: Sequence[bytes | None]) -> InferResponse | None:
    (entry,) = entries
    return None if entry is None else decode_entry(entry)


def _tell(answers: Sequence[tuple[Then, InferResponse | None, bool]]) -> None:
    for then, answer, failed in answers:
        then(answer, failed)
