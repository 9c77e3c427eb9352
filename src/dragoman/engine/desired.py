"""What an operator wants of models, and where that is written down. Says nothing of what is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dragoman.engine.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be of one version: ``document`` is what its plan can be made from again, and is written as JSON."""

    version: str
    document: Mapping[str, Any] = field(default_factory=dict)
    minimum: int = 1
    maximum: int = 0
    loaded: bool = True


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be of one model. ``default`` is empty where the newest version answers; ``before`` are the defaults
    it had earlier, the newest last."""

    name: str
    versions: Mapping[str, Wanted] = field(default_factory=dict)
    default: str = ""
    before: Sequence[str] = ()
    traffic: Traffic = field(default_factory=Traffic)


class Ledger(Protocol):
    """Where it is written down. Both may take their time, and are called on a thread.

    Raises StorageFailed, and has then written nothing.
    """

    def write(self, desired: Desired, what: str, who: str) -> None: ...
    def erase(self, name: str, who: str) -> None: ...


class Memory:
    """No ledger: what is wanted is forgotten when the server ends."""

    def write(self, desired: Desired, what: str, who: str) -> None: ...
    def erase(self, name: str, who: str) -> None: ...
