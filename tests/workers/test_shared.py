"""Rings and files between two processes: order kept, wrapped around, and nothing believed of the other side."""

import os
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.workers.shared import (
    BIG,
    CAPACITY,
    HERE,
    LARGEST,
    Damaged,
    Ring,
    make_file,
    read_file,
    write_file,
)


@pytest.fixture
def rings():
    """The two ends of one ring."""
    writer = Ring.create()
    reader = Ring(os.dup(writer.fd))
    yield writer, reader
    reader.close()
    writer.close()


def poke(ring, at, layout, *values):
    struct.pack_into(layout, ring._memory, at, *values)


def test_frames_come_in_order_around_the_end_many_times(rings):
    writer, reader = rings
    chance = random.Random(1)
    for turn in range(60):
        sizes = [chance.choice([1, 60, 61, 4000, BIG - 1, BIG]) for _ in range(3)]
        frames = [bytes([turn % 256]) * size for size in sizes]
        for frame in frames:
            writer.write([frame[:1], frame[1:]], len(frame), wait=False)
        assert [reader.read() for _ in frames] == frames


@given(st.lists(st.integers(1, BIG), max_size=30))
def test_every_size_fits_when_each_frame_is_read_at_once(sizes):
    writer = Ring.create()
    reader = Ring(os.dup(writer.fd))
    try:
        for size in sizes:
            writer.write([bytes(size)], size, wait=False)
            assert len(reader.read()) == size
    finally:
        reader.close()
        writer.close()


def test_a_full_ring_refuses_who_does_not_wait(rings):
    writer, reader = rings
    for _ in range(CAPACITY // BIG - 1):
        writer.write([bytes(BIG)], BIG, wait=False)
    with pytest.raises(Damaged):
        writer.write([bytes(BIG)], BIG, wait=False)
    assert len(reader.read()) == BIG


def test_a_tail_that_lies_does_not_make_the_writer_wait(rings):
    writer, reader = rings
    for _ in range(10):
        writer.write([bytes(BIG)], BIG, wait=False)
        reader.read()
    poke(writer, 64, "<Q", 0)
    with pytest.raises(Damaged):
        writer.write([b"x"], 1, wait=False)


@pytest.mark.parametrize("size", [BIG + len(HERE), CAPACITY, 2**31, 2**32 - 1])
def test_hostile_sizes_are_damaged(rings, size):
    _, reader = rings
    poke(reader, 128, "<I", size)
    with pytest.raises(Damaged):
        reader.read()


def test_an_empty_ring_is_damaged(rings):
    with pytest.raises(Damaged):
        rings[1].read()


def test_a_frame_that_would_reach_over_the_end_is_damaged(rings):
    writer, reader = rings
    for _ in range(3):
        writer.write([bytes(BIG)], BIG, wait=False)
        reader.read()
    poke(reader, 128 + reader._tail % CAPACITY, "<I", BIG)
    with pytest.raises(Damaged):
        reader.read()


@given(st.binary(min_size=1, max_size=2000))
def test_garbage_in_a_ring_is_read_within_its_bounds_or_damaged(data):
    ring = Ring.create()
    try:
        ring._memory[128 : 128 + len(data)] = data
        for _ in range(50):
            assert 0 < len(ring.read()) <= BIG
    except Damaged:
        pass
    finally:
        ring.close()


def test_a_big_frame_goes_by_file():
    pieces = [b"a" * 1_000_000, memoryview(b"b" * 2_000_000)]
    view = read_file(write_file(pieces, 3_000_000), LARGEST)
    assert bytes(view) == b"".join(pieces)
    assert view.readonly


def test_an_unsealed_file_is_refused():
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 100)
    with pytest.raises(Damaged, match="sealed"):
        read_file(fd, LARGEST)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_sealed_file_cannot_be_truncated():
    fd = make_file("x", 100)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 10)
    os.close(fd)


def test_empty_and_oversized_files_are_refused():
    with pytest.raises(Damaged):
        read_file(make_file("x", 0), LARGEST)
    with pytest.raises(Damaged):
        read_file(make_file("x", 101), 100)


def test_what_is_no_memory_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    for fd in (os.open(path, os.O_RDONLY), os.pipe()[0], os.eventfd(0)):
        with pytest.raises(Damaged):
            read_file(fd, LARGEST)


def test_a_file_that_could_not_be_written_is_closed():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match=r"slice|size|length|structure"):
        write_file([b"too long"], 3)
    assert len(os.listdir("/proc/self/fd")) == before
