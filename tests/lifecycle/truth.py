"""Which answers could have been right when: told by whoever changes things."""

from dataclasses import dataclass, field
from time import monotonic

from tests.lifecycle.load import Outcome


@dataclass
class Truth:
    """The defaults of one model. One is right from when the change to it began until the next change was acknowledged.

    All moments are those of ``time.monotonic``.
    """

    answers: list[str]
    since: list[float] = field(default_factory=lambda: [0.0])
    until: list[float] = field(default_factory=list)  #: of all but the last

    def became(self, answer: str, start: float) -> None:
        """A change that began at ``start`` has just been acknowledged."""
        self.answers.append(answer)
        self.since.append(start)
        self.until.append(monotonic())

    def explains(self, outcome: Outcome) -> bool:
        """Whether the answer was a default at some moment between the request's start and its end."""
        times = zip(self.answers, self.since, [*self.until, float("inf")], strict=True)
        return any(
            answer == outcome.answer and since <= outcome.end and outcome.start <= until
            for answer, since, until in times
        )
