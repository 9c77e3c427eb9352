"""What keeps answers, as everybody in front of it sees it. Knows no key's meaning."""

from collections.abc import Callable
from typing import Protocol

from dragoman.types import InferResponse

#: Told the answer, or ``None``; and whether there is none because what keeps them doesn't work.
Then = Callable[[InferResponse | None, bool], None]


class Cache(Protocol):
    """Answers by key. Called on the event loop's thread, and never in the way: what doesn't work has no answer."""

    def get(self, key: bytes, then: Then) -> None:
        """Call ``then`` once, on the same thread: before this returns, or later."""

    def put(self, key: bytes, answer: InferResponse) -> None:
        """Keep an answer, if there is room."""

    def clear(self, prefix: bytes = b"") -> None:
        """Forget all answers whose keys begin with ``prefix``."""

    def close(self) -> None:
        """Give everything back. Blocks."""
