"""What an instance tells of itself, for whoever looks after models. Knows no way to change it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """One loaded copy of a model, at this moment.

    ``number`` is its own among the model's. ``started`` is in seconds since 1970. ``ready`` says that it can answer,
    or does just now. ``memory`` (in bytes) and ``pid`` are those of the process that it has for itself, 0 where it
    has none: what stands here is for those who may look after models, not for a client's answer.
    """

    number: int
    started: float
    ready: bool
    memory: int = 0
    pid: int = 0
