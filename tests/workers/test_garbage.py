"""A worker says what no honest one says: it is ended, its batch fails, and the server is as it was."""

import asyncio
import gc
import json
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import WorkerDied
from dragoman.types import InferRequest, InferResponse, Signature, Tensor, TensorSpec
from dragoman.workers import guard
from dragoman.workers.crash import Reason
from dragoman.workers.messages import encode_outcomes, encode_part
from dragoman.workers.process import ProcessInstance, ProcessPlan
from dragoman.workers.shared import Damaged, Ring
from dragoman.workers.signatures import describe_signature
from tests.workers import garbler
from tests.workers.faulty import memory_of, until
from tests.workers.load import Load

COMMANDS = [
    "garbage_eventfds",
    "garbage_socket",
    "garbage_frames",
    "false_metrics",
    "endless_metrics",
    "close_fds",
]
#: How many liars of each kind there are.
TURNS = 4


@pytest.mark.parametrize("command", COMMANDS)
def test_garbage_ends_the_worker_that_wrote_it(one, command):
    """R11"""
    pid = one.value("pid")
    for _ in range(3):
        assert one.ask(command).status in (200, 503)  # it may have answered before it is found out
        until(one.works)
    until(lambda: one.value("pid") != pid)
    assert one.client.get("/livez").status == 200
    assert one.exits.keys() <= {"garbage", "exit"}  # one that has closed everything may notice that first


@pytest.mark.parametrize("command", ["zeros_in_rings", "garbage_rings"])
def test_positions_that_jump_stop_nobody(one, command):
    """R11"""
    for _ in range(3):
        assert one.ask(command).status in (200, 503)
        for _ in range(20):
            until(one.works)


def test_damaged_frames_under_load_fail_nobody_but_their_own_batches(front):
    """R11: mutations of what honest workers send. Nothing of it stays in the server."""
    with Load(front.url, rate=20.0) as load:
        until(lambda: len(load.answers) >= 20)
        damaged = damage(front, load, range(4))
        before = belongings(front)
        damaged |= damage(front, load, range(4, 16))
        done = len(load.answers)
        until(lambda: len(load.answers) >= done + 20)
    answers = load.ledger(believe=False)
    told = {n for note in front.journal if note.pid in damaged for n in note.numbers}
    assert all(answer.status == 200 or answer.number in told for answer in answers)
    assert all(answer.status in (200, 400, 404, 413, 500, 501, 503, 504) for answer in answers)
    assert front.exits["garbage"] >= 10
    after = belongings(front)
    assert after["files"] <= before["files"] + 2
    assert after["threads"] == before["threads"]
    assert after["memory"] - before["memory"] <= 16 << 20


def damage(front, load, seeds):
    """Let a worker damage its frames, for each seed; gives their pids when each has been replaced."""
    pids = {damage_one(front, load, seed) for seed in seeds}
    until(lambda: len(front.workers) == 2)
    return pids


def damage_one(front, load, seed):
    until(lambda: len(front.workers) == 2)
    (number,) = load.ask("damage_frames", seed)
    (note,) = until(lambda: [n for n in front.journal if number in n.numbers and n.event == "began"])
    until(lambda: note.pid not in front.workers, 60)
    return note.pid


def belongings(front):
    return {
        "files": len(os.listdir(f"/proc/{front.pid}/fd")),
        "threads": len(os.listdir(f"/proc/{front.pid}/task")),
        "memory": memory_of(front.pid),
    }


@given(
    st.lists(st.tuples(st.integers(0, 1024), st.binary(min_size=1, max_size=12)), min_size=1, max_size=8),
    st.integers(1, 5),
)
def test_whatever_is_in_a_ring_is_read_or_refused(pieces, count):
    """R11: positions, sizes and frames overwritten at random."""
    writer = Ring.create()
    reader = Ring(os.dup(writer.fd))
    try:
        for size in (1, 60, 500):
            writer.write([bytes(size)], size)
        for at, piece in pieces:
            os.pwrite(writer.fd, piece, at)
        for _ in range(count):
            assert isinstance(reader.read(), bytes)
    except Damaged:
        pass
    finally:
        reader.close()
        writer.close()


SIGNATURE = Signature((TensorSpec("x", "FP64", (1,)),), (TensorSpec("y", "FP64", (-1,)),))


def honest():
    """What an honest worker would say to batch 1."""
    numbers = Tensor("y", "FP64", np.arange(3.0))
    words = Tensor("y", "BYTES", np.array([b"one", b"two"], object), {"a": 1})
    response = InferResponse("m", "1", (numbers, words), "id", {"p": [1, {"q": None}]})
    frames = [
        encode_outcomes(1, [response], 0.5),
        encode_part(1, 0, response),
        encode_outcomes(1, [WorkerDied("no")], 0.5, "rotten"),
        encode_outcomes(2, [response, response], 0.5),
    ]
    hello = {"signature": describe_signature(SIGNATURE), "fast": False, "concurrent": False}
    return {"hello": json.dumps(hello), "frames": [b"".join(frame.pieces).hex() for frame in frames]}


class Liars:
    """Instances whose processes are garblers."""

    def __init__(self, folder):
        self.corpus = folder / "corpus.json"
        self.corpus.write_text(json.dumps(honest()))
        self.program = folder / "python"
        self.program.write_text(f'#!/bin/sh\nexec {sys.executable} {garbler.__file__} "$@"\n')
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self.errors = []

    async def live(self, seed):
        """The whole life of one: what became of its batch, or of its load, and why it ended."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        environment = {**os.environ, "SEED": str(seed), "CORPUS": str(self.corpus)}
        order = {"max_memory": 0, "max_processes": 0}
        plan = ProcessPlan("m", "1", order, environment, response_timeout=0.5)
        instance = ProcessInstance(plan, 0, loop)
        outcomes = []
        try:
            await asyncio.wait_for(instance.loaded, 30)
        except Exception as error:
            outcomes.append(error)
        else:
            done = loop.create_future()
            request = InferRequest("m", (Tensor("x", "FP64", np.ones(1)),))
            instance.run([request], lambda *answer: done.set_result(answer), lambda *part: None)
            ((outcome,), _) = await asyncio.wait_for(done, 30)
            outcomes.append(outcome)
        ended = asyncio.Event()
        instance.close(ended.set)
        await asyncio.wait_for(ended.wait(), 30)
        return outcomes[0], [report.cause.reason for report in plan.exits.reports]


def test_no_lie_is_believed_and_none_costs_the_server_anything(tmp_path, monkeypatch):
    """R11: greetings, frames, positions, counts, messages and files, each a little or altogether wrong."""
    guard.get()
    liars = Liars(tmp_path)
    monkeypatch.setattr(sys, "executable", str(liars.program))

    def belongings():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), memory_of(os.getpid())

    reasons = []

    async def live_all(seeds):
        for seed in seeds:
            outcome, why = await liars.live(seed)
            assert isinstance(outcome, Exception | InferResponse)
            reasons.extend(why)

    asyncio.run(live_all(range(len(garbler.KINDS))))
    files, threads, memory = belongings()
    asyncio.run(live_all(range(len(garbler.KINDS) * TURNS)))
    assert not liars.errors
    assert reasons.count(Reason.GARBAGE) >= len(reasons) // 2
    after = belongings()
    assert after[0] <= files + 2
    assert after[1] <= threads
    assert after[2] - memory <= 8 << 20
    assert not list(Path("/dev/shm").glob("dragoman*"))
