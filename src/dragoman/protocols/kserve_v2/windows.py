"""Triton's shared memory extension in a request: which part of a region an input or output lies in.

Knows what a region must be able to do, not where regions come from: a codec is handed a function that finds them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from dragoman.errors import InvalidInput, NotFound, TooLarge
from dragoman.protocols.kserve_v2.members import check_unsigned
from dragoman.tensors import Buffer, encode_raw
from dragoman.types import Parameters, Tensor

REGION: Final = "shared_memory_region"
SIZE: Final = "shared_memory_byte_size"
OFFSET: Final = "shared_memory_offset"
#: What says where a tensor lies. A model isn't told.
PLACES: Final = frozenset({REGION, SIZE, OFFSET})


class Region(Protocol):
    """Memory that a client shares, as far as it has registered it. Offsets count from there, in bytes."""

    @property
    def byte_size(self) -> int: ...

    def read(self, offset: int, size: int) -> Buffer:
        """A copy, which nobody changes any more. Raises InvalidInput."""

    def write(self, offset: int, data: Buffer) -> None:
        """Raises InvalidInput."""


#: Finds a region by its name. Raises NotFound.
Find = Callable[[str], Region]


def no_regions(name: str) -> Region:
    """Finds nothing."""
    raise NotFound(f"Unable to find shared memory region: '{name}'")


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a region, checked against what is registered."""

    region: Region
    offset: int
    size: int

    def read(self) -> Buffer:
        return self.region.read(self.offset, self.size)

    def write(self, tensor: Tensor) -> None:
        """Put an output there. Raises InvalidInput where it is too large."""
        data = encode_raw(tensor)
        if len(data) > self.size:
            raise InvalidInput(
                f"shared memory size specified with the request for output '{tensor.name}' ({self.size} bytes)"
                f" should be at least {len(data)} bytes to hold the results"
            )
        self.region.write(self.offset, data)


class Shared(NamedTuple):
    """What clients share with the server: how regions are found, and how many bytes one request may read there."""

    find: Find
    most: int

    def check_total(self, size: int) -> None:
        """Raise TooLarge where the inputs of one request have more bytes in shared memory than they may."""
        if size > self.most:
            raise TooLarge(
                f"the inputs of a request may have {self.most} bytes in shared memory (limits.body_bytes), and these"
                f" have {size}"
            )


NOTHING_SHARED: Final = Shared(no_regions, 0)


def open_window(parameters: Parameters, find: Find) -> Window:
    """The part of a region that ``parameters`` name. Raises NotFound, InvalidInput."""
    name = parameters[REGION]
    if type(name) is not str:
        raise InvalidInput(f"Unable to parse '{REGION}': attempt to access JSON non-string as string")
    size, offset = _number(parameters, SIZE), _number(parameters, OFFSET)
    region = find(name)
    if not size or offset + size > region.byte_size:
        raise InvalidInput(f"Invalid offset + byte size for shared memory region: '{name}'")
    return Window(region, offset, size)


def _number(parameters: Parameters, key: str) -> int:
    value: Any = parameters.get(key)
    if value is None:
        return 0
    check_unsigned(key, value)
    return int(value)
