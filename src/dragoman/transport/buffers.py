"""Where big bodies are received: buffers that are used again, because page faults cost more than copies.

Knows no connection and no request.
"""

import ctypes
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 65_536
#: References to a buffer that only the pool knows: its list, a local name, and getrefcount's own argument.
_FREE: Final = 3


class BufferPool:
    """Keeps at most ``count`` buffers of ``size`` bytes in all.

    Nothing is ever given back: a buffer is free when nobody but the pool refers to it. A view on a request's
    body, numpy's included, keeps it busy for just as long as it is needed.
    """

    def __init__(self, count: int = 32, size: int = 268_435_456) -> None:
        self._buffers: list[NDArray[Any]] = []
        self._count = count
        self._size = size

    def take(self, size: int) -> memoryview:
        """``size`` writable bytes with anything in them."""
        for buffer in self._buffers:
            # Not much bigger than asked for: a small tensor that lives on must not pin a huge buffer.
            if size <= len(buffer) <= 2 * size + _BLOCK and sys.getrefcount(buffer) == _FREE:
                return buffer.data[:size]
        buffer = np.empty(-(-size // _BLOCK) * _BLOCK, np.uint8)  # bytearray would write zeros first
        self._keep(buffer)
        return buffer.data[:size]

    def _keep(self, new: NDArray[Any]) -> None:
        kept = self._buffers
        held = sum(map(len, kept)) + len(new)
        for index in range(len(kept) - 1, -1, -1):
            if len(kept) < self._count and held <= self._size:
                break
            buffer = kept[index]
            if sys.getrefcount(buffer) == _FREE:
                held -= len(buffer)
                del kept[index]
        if len(kept) < self._count and held <= self._size:
            kept.append(new)


def tune_allocator() -> None:
    """Tells glibc to keep big blocks: the kernel, given them back, would zero every page each time.

    For a server's main process, before its first request. Does nothing where the C library isn't glibc.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
        library.gnu_get_libc_version  # noqa: B018  musl has a mallopt of no effect, and others none
    except (OSError, AttributeError, TypeError):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt(mmap_threshold, 32 * 1024 * 1024)  # glibc takes no more on 64 bits
    mallopt(trim_threshold, 256 * 1024 * 1024)
    mallopt(top_pad, 16 * 1024 * 1024)
