"""A writer that is killed at any moment leaves the state before a change or after it, and loses nothing it reported."""

import multiprocessing
import os
import random
import signal
import time
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from dragoman.store import open_store

from .writer import DONE, Told, told, write

POINTS = 200
PATIENCE = 60.0


def test_a_kill_at_any_moment_leaves_before_or_after(file: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dragoman.store.database", "tests.store.writer"])
    choose = random.Random(20)
    before = after = 0
    for point in range(POINTS):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=write, args=(str(file), theirs, point))
        process.start()
        theirs.close()
        known, lasted = receive(ours), 0.01
        for _ in range(choose.randrange(3)):
            pending, begun = receive(ours), time.monotonic()
            assert receive(ours) == DONE
            known, lasted = pending, time.monotonic() - begun
        pending = receive(ours)
        time.sleep(choose.uniform(0, lasted * 1.2))  # somewhere in the change, or in the one after it
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL
        known, pending = follow(ours, known, pending)
        with closing(open_store(file)) as store:
            now = told(store.models())
            assert now in (known, pending)
            before += now == known
            after += now == pending
    assert min(before, after) > POINTS / 20, "the kills hit only one side of a change"


def receive(pipe: Connection) -> Told:
    assert pipe.poll(PATIENCE), "the writer says nothing"
    message: Told = pipe.recv()
    return message


def follow(pipe: Connection, known: Told, pending: Told | None) -> tuple[Told, Told | None]:
    """The last state that was reported, and the one that was about to come, if one was."""
    with suppress(EOFError, OSError):  # the end, maybe in the middle of a message
        while True:
            message = pipe.recv()
            known, pending = (pending or {}, None) if message == DONE else (known, message)
    return known, pending
