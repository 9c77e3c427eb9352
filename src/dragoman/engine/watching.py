"""The contract of who sees what models are asked and answer: it is told, and is never in the way."""

from typing import Protocol

from dragoman.scheduling.scheduler import Outcome, Reply
from dragoman.types import InferRequest


class Note(Protocol):
    """One request that is watched."""

    def listen(self, reply: Reply) -> Reply:
        """The same reply, which tells this note, too; the client first."""

    def take(self, outcome: Outcome) -> None:
        """What came of the request, where no reply tells it. Never raises."""


class Watcher(Protocol):
    """Watches one version of one model."""

    def watch(self, request: InferRequest, dialect: str) -> Note | None:
        """A note of a request that has just come; ``None`` where it is not among those to be seen. Never raises."""
