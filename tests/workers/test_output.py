"""What a model prints is cut into lines, limited and remembered, whatever it is."""

import asyncio
import logging
import os
import threading

import pytest

from dragoman.workers import output
from dragoman.workers.output import KEPT, RATE, WIDTH, Output


def told(caplog):
    return [record for record in caplog.records if record.name == "dragoman.output"]


@pytest.fixture
def listen(caplog):
    """Write these pieces to a pipe that an Output reads; gives the Output when it has read everything."""
    caplog.set_level(logging.INFO, "dragoman.output")

    def run(*pieces):
        async def scenario():
            reading, writing = os.pipe()
            heard = Output(reading, "m#0", "stdout", asyncio.get_running_loop())

            def write():
                with open(writing, "wb") as pipe:
                    for piece in pieces:
                        pipe.write(piece)
                        pipe.flush()

            writer = threading.Thread(target=write)
            writer.start()
            while heard._fd >= 0:
                await asyncio.sleep(0.001)
            writer.join()
            return heard

        return asyncio.run(asyncio.wait_for(scenario(), 60))

    return run


def test_lines_are_tagged_and_kept(listen, caplog):
    heard = listen(b"one\ntw", b"o\r\nthr", b"ee")
    assert list(heard.tail) == ["one", "two", "three"]
    assert [record.getMessage() for record in told(caplog)] == ["one", "two", "three"]
    assert {(record.model, record.stream) for record in told(caplog)} == {("m#0", "stdout")}


def test_two_megabytes_without_a_newline_are_one_short_line(listen, caplog):
    heard = listen(b"x" * 2_000_000, b"\nafter\n")
    assert list(heard.tail) == ["x" * WIDTH, "after"]
    assert len(told(caplog)) == 2
    assert len(heard._rest) <= WIDTH


def test_what_is_no_utf8_is_shown_all_the_same(listen):
    heard = listen(b"\xff\xfe caf\xe9\n", bytes(range(128, 256)) + b"\n")
    assert "caf\N{REPLACEMENT CHARACTER}" in heard.tail[0]
    assert len(heard.tail) == 2


def test_percent_signs_are_only_text(listen, caplog):
    listen(b"100 %s %d %(x)s\n")
    assert told(caplog)[0].getMessage() == "100 %s %d %(x)s"


def test_a_million_lines_are_counted_and_their_last_ones_kept(listen, caplog, monkeypatch):
    heard = listen(b"".join(b"line %d\n" % number for number in range(1_000_000)))
    assert heard.tail[-1] == "line 999999"
    assert len(heard.tail) <= KEPT
    lines = [record for record in told(caplog) if record.levelno == logging.INFO]
    left_out = sum(record.lines for record in told(caplog) if record.levelno == logging.WARNING)
    assert RATE <= len(lines) < 10_000
    assert len(lines) + left_out == pytest.approx(1_000_000, abs=100)


def test_a_tail_has_no_more_lines_than_are_kept(listen):
    heard = listen(b"".join(b"line %d\n" % number for number in range(RATE - 10)))
    assert list(heard.tail) == [f"line {number}" for number in range(RATE - 10 - KEPT, RATE - 10)]


def test_draining_ends_although_somebody_goes_on_writing(caplog):
    caplog.set_level(logging.INFO, "dragoman.output")

    async def scenario():
        reading, writing = os.pipe()
        heard = Output(reading, "m#0", "stdout", asyncio.get_running_loop())
        os.set_blocking(writing, False)
        real = os.read

        def read(fd, size):
            os.write(writing, b"more\n")
            return real(fd, size)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(output.os, "read", read)
            heard.drain()
        assert heard._fd == -1
        os.close(writing)
        heard.drain()  # twice does no harm

    asyncio.run(scenario())
