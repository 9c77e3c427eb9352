"""Shared memory as clients have it: an object with a key of its own, gone after the test."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("/dev/shm")


class SharedObject:
    """``key`` is what ``shm_open`` takes."""

    def __init__(self, size: int) -> None:
        self.key = f"/dragoman-test-{os.getpid()}-{secrets.token_hex(6)}"
        self.path = FOLDER / self.key[1:]
        self.path.write_bytes(bytes(size))

    def read(self) -> bytes:
        return self.path.read_bytes()

    def write(self, data: bytes, offset: int = 0) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, size: int) -> None:
        os.truncate(self.path, size)

    def unlink(self) -> None:
        self.path.unlink(missing_ok=True)


@contextmanager
def shared_object(size: int, data: bytes = b"") -> Iterator[SharedObject]:
    memory = SharedObject(size)
    try:
        memory.write(data)
        yield memory
    finally:
        memory.unlink()
