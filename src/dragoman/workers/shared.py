"""Memory that two processes see: a ring for small frames, a sealed file of its own for each big one.

Frames are bytes; what is in them is ``messages``' business. There is one writer and one reader. The reader takes as
many frames as the eventfd counted, so that the order of memory is the kernel's business. Frames are copied out of the
ring (they are small), and big ones are looked at where they are: the memory goes when the last view on it goes.
"""

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Sequence
from typing import Final

from dragoman.tensors import Buffer

#: Bytes of a ring's frames in all. What would fill more than a quarter of it gets a file of its own.
CAPACITY: Final = 8_388_608
BIG: Final = CAPACITY // 4
#: What a frame begins with: its data follows, aligned, or it is in the next file.
HERE: Final = b"\1".ljust(64, b"\0")
IN_FILE: Final = b"\0"
#: Bytes that one answer's data may have, and one frame of a worker with its description.
MOST_DATA: Final = 2**31
LARGEST: Final = MOST_DATA + 2**26
#: Where the ring counts bytes written and bytes read since the beginning, in words of eight bytes; each has a cache
#: line of its own.
_HEAD: Final = 0
_TAIL: Final = 8
_DATA_AT: Final = 128
_LENGTH: Final = struct.Struct("<I")
_ALIGN: Final = 64
#: Frames that fit into a ring: whoever counts more has not written them.
MOST_FRAMES: Final = CAPACITY // _ALIGN
#: Frames up to this size are joined first: a copy in the cache costs less than writing piece by piece.
_JOINED: Final = 16_384
#: Seconds between two looks at a full ring: only a stream whose client reads slowly fills it.
_PATIENCE: Final = 0.0005


class Damaged(Exception):
    """The other side wrote what no honest one would."""


class Ring:
    """Frames in the order written, in memory made by ``create`` and inherited by the other process as ``fd``."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _DATA_AT + CAPACITY)
        self._view = memoryview(self._memory)
        self._counts = self._view[:_DATA_AT].cast("Q")
        self._head = self._counts[_HEAD]
        self._tail = self._counts[_TAIL]

    @classmethod
    def create(cls) -> "Ring":
        return cls(make_file("dragoman-ring", _DATA_AT + CAPACITY))

    def write(self, pieces: Sequence[Buffer], size: int, *, wait: bool = True) -> None:
        """Add a frame of ``size`` bytes, at most ``BIG``; waits while the reader is too far behind.

        Where an honest reader can't be that far behind, nobody need ``wait`` for one: then raises Damaged.
        """
        room = (_LENGTH.size + size + _ALIGN - 1) & -_ALIGN
        head = self._head
        at = head % CAPACITY
        skip = CAPACITY - at if at + room > CAPACITY else 0  # a frame never wraps around
        end = head + skip + room
        while end - self._counts[_TAIL] > CAPACITY:
            if not wait:
                raise Damaged("a ring that is never read")
            time.sleep(_PATIENCE)
        if skip:
            _LENGTH.pack_into(self._memory, _DATA_AT + at, 0)
            at = 0
        self._put(_DATA_AT + at, [_LENGTH.pack(size), *pieces], _LENGTH.size + size)
        self._head = self._counts[_HEAD] = end

    def _put(self, start: int, pieces: Sequence[Buffer], size: int) -> None:
        if size <= _JOINED:
            self._view[start : start + size] = b"".join(pieces)
            return
        for piece in pieces:
            end = start + len(piece)
            self._view[start:end] = piece
            start = end

    def read(self) -> bytes:
        """Take the next frame out. Raises Damaged."""
        at = self._tail % CAPACITY
        (size,) = _LENGTH.unpack_from(self._memory, _DATA_AT + at)
        if size == 0:
            self._tail += CAPACITY - at
            at = 0
            (size,) = _LENGTH.unpack_from(self._memory, _DATA_AT)
        room = (_LENGTH.size + size + _ALIGN - 1) & -_ALIGN
        if not 0 < size < BIG + len(HERE) or at + room > CAPACITY:
            raise Damaged(f"a frame of {size} bytes in the ring")
        start = _DATA_AT + at + _LENGTH.size
        frame = self._memory[start : start + size]
        self._tail = self._counts[_TAIL] = self._tail + room
        return frame

    def close(self) -> None:
        self._counts.release()
        self._view.release()
        self._memory.close()
        os.close(self.fd)


def write_file(pieces: Sequence[Buffer], size: int) -> int:
    """A sealed file with these bytes; the caller closes it once the other process has it."""
    fd = make_file("dragoman-frame", size)
    try:
        with mmap.mmap(fd, size) as memory, memoryview(memory) as view:
            start = 0
            for piece in pieces:
                end = start + len(piece)
                view[start:end] = piece
                start = end
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_file(fd: int, most: int) -> memoryview:
    """What the other process wrote, in place and read-only. Takes ``fd``. Raises Damaged.

    The file must be sealed against shrinking: memory that goes away under a reader kills it.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        size = os.fstat(fd).st_size
        if not seals & fcntl.F_SEAL_SHRINK or not 0 < size <= most:
            raise Damaged(f"a frame of {size} bytes in a file, sealed {seals}")
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return memoryview(mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ))
    except (OSError, ValueError) as error:
        raise Damaged(f"a frame that is no sealed file: {error}") from error
    finally:
        os.close(fd)


def make_file(name: str, size: int) -> int:
    """Memory with a file descriptor and no name that anybody could guess; it can't shrink or grow."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise
    return fd
