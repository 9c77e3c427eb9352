"""A version that gets a copy of every request and answers nobody: what it would have said is compared and counted.

Never in the way: the client's answer goes out first, and a shadow that is too slow or fails is only counted.
"""

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dragoman.errors import DragomanError
from dragoman.scheduling.scheduler import Outcome, Reply
from dragoman.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from dragoman.engine.model import Model

DIALECT: Final = "shadow"


@dataclass(slots=True)
class Report:
    """What came of the copies. Seconds are from arrival to answer; differences are of numbers, in absolute terms."""

    copied: int = 0
    refused: int = 0  #: copies that the shadow had no place for
    failed: int = 0  #: the shadow failed where the other version answered
    recovered: int = 0  #: the shadow answered where the other version failed
    equal: int = 0
    different: int = 0
    largest_difference: float = 0.0
    seconds: float = 0.0
    shadow_seconds: float = 0.0
    since: float = field(default_factory=time.time)

    def compare(self, answer: Outcome, shadow: Outcome) -> None:
        """Count one request for which both have an outcome."""
        if isinstance(answer, DragomanError) or isinstance(shadow, DragomanError):
            self.recovered += isinstance(shadow, InferResponse)
            self.failed += isinstance(answer, InferResponse)
            return
        difference = measure(answer, shadow)
        self.equal += difference == 0
        self.different += difference != 0
        if np.isfinite(difference):
            self.largest_difference = max(self.largest_difference, difference)


class Mirror:
    """Copies what one model is asked to ``shadow``."""

    def __init__(self, shadow: "Model") -> None:
        self.shadow = shadow
        self.report = Report()

    def watch(self, request: InferRequest, reply: Reply, *, check: bool = True) -> Reply:
        """Send a copy, and listen to what ``reply`` is told."""
        pair = _Pair(self.report, reply)
        copy = replace(request, version=self.shadow.version, deadline=None, moments=None)
        try:
            self.shadow.infer(copy, pair.take_shadow, DIALECT, check=check)
            self.report.copied += 1
        except DragomanError:
            self.report.refused += 1
        return pair.take_answer


class _Pair:
    """Two outcomes of one request, whichever comes first. Of an answer in parts only the last one is compared."""

    __slots__ = ("_answer", "_reply", "_report", "_shadow", "_started")

    def __init__(self, report: Report, reply: Reply) -> None:
        self._report = report
        self._reply = reply
        self._started = time.perf_counter()
        self._answer: Outcome | None = None
        self._shadow: Outcome | None = None

    def take_answer(self, outcome: Outcome) -> None:
        self._reply(outcome)
        if isinstance(outcome, DragomanError) or outcome.final:
            self._answer = outcome
            self._report.seconds += time.perf_counter() - self._started
            self._compare()

    def take_shadow(self, outcome: Outcome) -> None:
        if isinstance(outcome, DragomanError) or outcome.final:
            self._shadow = outcome
            self._report.shadow_seconds += time.perf_counter() - self._started
            self._compare()

    def _compare(self) -> None:
        if self._answer is not None and self._shadow is not None:
            self._report.compare(self._answer, self._shadow)


def measure(answer: InferResponse, other: InferResponse) -> float:
    """How far two answers are apart: 0 if they are equal, infinity if they differ in more than numbers."""
    ours = {tensor.name: tensor for tensor in answer.outputs}
    theirs = {tensor.name: tensor for tensor in other.outputs}
    if ours.keys() != theirs.keys():
        return float("inf")
    return max((_apart(ours[name].data, theirs[name].data) for name in ours), default=0.0)


def _apart(a: Any, b: Any) -> float:
    if a.dtype != b.dtype or a.shape != b.shape:
        return float("inf")
    if a.dtype.kind not in "iufb":
        return 0.0 if np.array_equal(a, b) else float("inf")
    if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return 0.0
    found = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.max(found)) if np.isfinite(found).all() else float("inf")
