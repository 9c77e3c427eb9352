"""Names for places and for traces, for models that pass them on: here all memory is main memory."""

from enum import IntEnum
from typing import Any


class MemoryType(IntEnum):
    """Where a tensor lies."""

    TRITONSERVER_MEMORY_CPU = 0
    TRITONSERVER_MEMORY_CPU_PINNED = 1
    TRITONSERVER_MEMORY_GPU = 2
    DEFAULT = 3


TRITONSERVER_MEMORY_CPU = MemoryType.TRITONSERVER_MEMORY_CPU
TRITONSERVER_MEMORY_CPU_PINNED = MemoryType.TRITONSERVER_MEMORY_CPU_PINNED
TRITONSERVER_MEMORY_GPU = MemoryType.TRITONSERVER_MEMORY_GPU


class PreferredMemory:
    """Where a model would like another one's answer. It is taken, and answers come in main memory all the same."""

    def __init__(self, preferred_memory_type: int = MemoryType.DEFAULT, preferred_device_id: int = 0) -> None:
        self._type, self._device = preferred_memory_type, preferred_device_id

    def preferred_memory_type(self) -> int:
        return self._type

    def preferred_device_id(self) -> int:
        return self._device


class InferenceTrace:
    """What a request's trace is handed on with. Requests of models are not traced."""

    def get_context(self) -> Any:
        """The context of OpenTelemetry as JSON; ``None``, for there is none."""
        return None
