"""The pure parts of the HTTP server: chunks, heads, buffers and inflation, without a socket."""

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dragoman.config import LimitSettings
from dragoman.transport import compression
from dragoman.transport.body import DirectBody
from dragoman.transport.buffers import BufferPool, tune_allocator
from dragoman.transport.chunks import ChunkDecoder
from dragoman.transport.head import Refusal, cut_head, parse_head

LIMITS = LimitSettings()


def refused(action: Callable[[], object]) -> int | None:
    """The status with which ``action`` is refused; no other exception may come of it."""
    try:
        action()
    except Refusal as refusal:
        return refusal.status
    return None


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.lists(st.integers(0, 20), max_size=30),
    st.binary(max_size=10),
)
def test_chunks_come_out_however_they_are_cut(chunks: list[bytes], sizes: list[int], after: bytes) -> None:
    data = b"".join(b"%x;e=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: x\r\n\r\n"
    decoder = ChunkDecoder(LIMITS)
    pending, body = bytearray(), b""
    for piece in cut(data + after, sizes):
        pending += piece
        body += b"".join(decoder.decode(pending))
    assert decoder.done
    assert body == b"".join(chunks)
    assert pending == after


@given(st.binary(max_size=60))
def test_any_bytes_are_chunks_or_refused(data: bytes) -> None:
    decoder = ChunkDecoder(LIMITS)
    assert refused(lambda: decoder.decode(bytearray(data))) in (None, 400, 413)


@given(
    st.binary(max_size=200).map(lambda data: b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n")
    | st.binary(max_size=80)
)
def test_any_bytes_are_a_head_or_refused_or_unfinished(data: bytes) -> None:
    def read() -> None:
        raw = cut_head(bytearray(data), LIMITS)
        if raw is not None:
            head = parse_head(raw, LIMITS)
            assert head.path.startswith("/") or head.method == "OPTIONS"
            assert not (head.chunked and head.length)

    assert refused(read) in (None, 400, 417, 431, 501, 505)


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate"]), st.integers(1, 1000))
def test_inflation_gives_back_what_was_deflated(data: bytes, coding: str, budget: int) -> None:
    inflater = compression.Inflater(compression.deflate([data], coding, 4), coding, 3000)
    while not inflater.step(budget):
        pass
    assert inflater.body == data


def test_inflation_stops_at_the_limit() -> None:
    inflater = compression.Inflater(gzip.compress(bytes(100_000_000)), "gzip", 1_000_000)
    assert refused(lambda: inflater.step(1 << 30)) == 413
    assert len(inflater.body) < 2_000_000


@given(st.binary(max_size=100))
def test_any_bytes_inflate_or_are_refused(data: bytes) -> None:
    inflater = compression.Inflater(zlib.compress(b"x" * 100)[:5] + data, "deflate", 1000)
    assert refused(lambda: inflater.step(10_000)) in (None, 400, 413)


def test_a_buffer_is_used_again_when_nobody_looks_at_it() -> None:
    pool = BufferPool()
    first = pool.take(100_000)
    array = np.frombuffer(first.toreadonly()[10:], np.uint8)
    place = array.ctypes.data - 10
    del first
    second = np.frombuffer(pool.take(100_000), np.uint8)
    assert second.ctypes.data != place
    del array
    assert np.frombuffer(pool.take(90_000), np.uint8).ctypes.data == place


def test_the_pool_is_bounded_and_serves_all_the_same() -> None:
    pool = BufferPool(count=2, size=1_000_000)
    kept = [pool.take(size) for size in (300_000, 300_000, 300_000, 5_000_000)]
    assert [len(view) for view in kept] == [300_000, 300_000, 300_000, 5_000_000]
    assert len(pool._buffers) == 2
    del kept
    pool.take(600_000)
    assert sum(map(len, pool._buffers)) <= 1_000_000


def test_a_small_body_does_not_pin_a_huge_buffer() -> None:
    pool = BufferPool()
    pool.take(10_000_000)
    assert len(pool.take(100_000).obj) < 1_000_000  # type: ignore[arg-type]


def test_a_promise_of_a_body_buys_little_memory() -> None:
    body = DirectBody(60_000_000, BufferPool())
    assert len(body.room()) == 1_048_576


@given(st.lists(st.integers(1, 400_000), max_size=20))
def test_a_big_body_is_put_together(sizes: list[int]) -> None:
    data = np.random.default_rng(1).bytes(3_000_000)
    body = DirectBody(len(data), BufferPool())
    pending = bytearray(data[:100_000])
    assert not body.feed(pending)
    assert not pending
    while body.received < len(data):
        room = body.room()
        size = min(len(room), sizes.pop() if sizes else 1_000_000)
        room[:size] = data[body.received : body.received + size]
        body.received += size
    tail = bytearray(b"next")
    assert body.feed(tail)
    assert tail == b"next"
    assert bytes(body.content()) == data


def test_the_allocator_can_be_tuned() -> None:
    code = "from dragoman.transport.buffers import tune_allocator; tune_allocator(); bytearray(50_000_000)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert tune_allocator() is None


def test_headers_can_be_read_as_they_were_sent() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX-Two:  b \r\nx-two: c\r\nACCEPT:\r\n\r\n"
    head = parse_head(raw, LIMITS)
    assert [name for name, _ in head.headers] == [b"host", b"x-two", b"x-two", b"accept"]
    assert head.raw_headers() == [(b"Host", b"a"), (b"X-Two", b"b"), (b"x-two", b"c"), (b"ACCEPT", b"")]
    assert head.raw_headers() is head.raw_headers()
