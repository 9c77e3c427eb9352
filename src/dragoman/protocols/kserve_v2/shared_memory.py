"""System shared memory that clients have registered: opened as ``shm_open`` would, checked, and released in time.

Knows no wire. A region is never mapped: it is read and written by ``pread`` and ``pwrite``. Memory that a client
truncates would end this process at the next look at it (SIGBUS), and what it changes while it is looked at could pass
every check and be something else afterwards. The price is one copy, which a request's body costs, too.
"""

import errno
import os
import resource
import stat
import weakref
from typing import Final, NamedTuple

from dragoman.errors import Conflict, InvalidInput, NotFound, Overloaded, Unsupported
from dragoman.protocols.kserve_v2.windows import Region, no_regions
from dragoman.tensors import Buffer

#: Where Linux has what ``shm_open`` opens; a key is a name there.
_FOLDER: Final = "/dev/shm/"
_LONGEST: Final = 255  # bytes of a file's name
#: Not for clients: what Triton's workers share with it, and the semaphores of other programs.
_RESERVED: Final = ("triton_python_backend_shm_region_", "sem.")
#: Each region has a descriptor, of which connections need some, too.
_MOST: Final = 1024

DISABLED: Final = (
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' (tritonserver) or"
    " '--client-shm' (serve) to enable."
)


class Entry(NamedTuple):
    """A registered region, as its status tells it; sizes are in bytes."""

    name: str
    key: str
    offset: int
    byte_size: int


class SharedMemory:
    """The regions of one server. One that isn't ``enabled`` has none and takes none."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._regions: dict[str, SystemRegion] = {}
        self._most = min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)

    def find(self, name: str) -> Region:
        """The region of this name. Raises NotFound."""
        return self._regions.get(name) or no_regions(name)

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Take a region in. Raises Conflict, InvalidInput, NotFound, Overloaded, Unsupported."""
        self.check_enabled()
        if name in self._regions:
            raise Conflict(f"shared memory region '{name}' already in manager")
        if len(self._regions) >= self._most:
            raise Overloaded(
                f"there are {self._most} regions of shared memory: unregister some that you don't need"
            )
        self._regions[name] = SystemRegion(Entry(name, key, offset, byte_size))

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all. Requests that have begun with one keep it until they are answered."""
        self.check_enabled()
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def status(self, name: str = "") -> list[Entry]:
        """One region, or all by name. Raises NotFound."""
        self.check_enabled()
        if not name:
            return [region.entry for _, region in sorted(self._regions.items())]
        if name not in self._regions:
            raise NotFound(f"Unable to find system shared memory region: '{name}'")
        return [self._regions[name].entry]

    def check_enabled(self) -> None:
        if not self.enabled:
            raise Unsupported(DISABLED)


class SystemRegion:
    """A part of a shared memory object, which stays open as long as somebody holds this."""

    def __init__(self, entry: Entry) -> None:
        """Raises InvalidInput, NotFound, Overloaded."""
        self.entry = entry
        self.byte_size = entry.byte_size
        self._descriptor = _open(entry.name, entry.key)
        weakref.finalize(self, os.close, self._descriptor)
        if not entry.byte_size or not self._reaches(entry.offset + entry.byte_size):
            raise InvalidInput(f"Invalid shared memory region: '{entry.key}'")

    def read(self, offset: int, size: int) -> Buffer:
        """A copy of ``size`` bytes. Raises InvalidInput where the object doesn't have them any more."""
        start = self.entry.offset + offset
        data = os.pread(self._descriptor, size, start)
        while len(data) < size:  # one call gives at most two gigabytes
            more = os.pread(self._descriptor, size - len(data), start + len(data))
            if not more:
                raise self._truncated()
            data += more
        return data

    def write(self, offset: int, data: Buffer) -> None:
        """Raises InvalidInput where the object has become too small, or there is no memory for it."""
        start, left = self.entry.offset + offset, memoryview(data).cast("B")
        if not self._reaches(start + len(left)):
            raise self._truncated()
        try:
            while left:
                written = os.pwrite(self._descriptor, left, start)
                start, left = start + written, left[written:]
        except OSError as error:  # there is no memory for pages that nobody has touched yet
            reason = os.strerror(error.errno or 0)
            raise InvalidInput(
                f"shared memory region '{self.entry.name}' can't be written: {reason}"
            ) from None

    def _reaches(self, end: int) -> bool:
        return end <= os.fstat(self._descriptor).st_size

    def _truncated(self) -> InvalidInput:
        return InvalidInput(
            f"shared memory region '{self.entry.name}' is smaller now than it was when it was registered"
        )


def _open(name: str, key: str) -> int:
    """A descriptor of what ``key`` names, as ``shm_open`` has it. Raises InvalidInput, NotFound, Overloaded."""
    base = key.removeprefix("/")
    for prefix in _RESERVED:
        if base.startswith(prefix):
            raise InvalidInput(
                f"cannot register shared memory region '{name}' with key '{key}' as the key contains the reserved"
                f" prefix '{prefix}'"
            )
    missing = NotFound(f"Unable to open shared memory region: '{key}'")
    if (
        base in ("", ".", "..")
        or "/" in base
        or "\0" in base
        or len(base.encode(errors="replace")) > _LONGEST
    ):
        raise missing
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(_FOLDER + base, flags)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise Overloaded("the server has no descriptor left for a region of shared memory") from None
        raise missing from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing
    return descriptor


def no_gpu(name: str) -> Unsupported:
    """The answer to who wants to register memory of a GPU."""
    return Unsupported(f"failed to register CUDA shared memory region: '{name}', GPUs not supported")
