"""What carries a mark is found, however it was started, and nothing else is."""

import os
import resource
import secrets
import subprocess
import sys
from contextlib import contextmanager

import pytest

from dragoman.workers import guard, sweep
from tests.workers.faulty import alive, until


def new_mark():
    return f"{secrets.token_hex(8)}.{secrets.token_hex(8)}"


#: Takes a mark and becomes a shell without a trace of it in its environment.
SCRIPT = """
import os, sys
from dragoman.workers import sweep
sweep.carry(sys.argv[1])
os.execve("/bin/sh", ["sh", "-c", "echo; " + sys.argv[2]], {"PATH": os.environ["PATH"]})
"""


@contextmanager
def process(mark, command="exec sleep 3600"):
    """A process that carries a mark in its limits alone."""
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, mark, command], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_mark_is_found_in_the_limits_when_the_environment_is_another():
    mark = new_mark()
    with process(mark) as child, process(new_mark()) as other:
        assert sweep.Search([mark]).run() == {mark: [child.pid]}
        sweep.kill([mark])
        assert child.wait() == -9
        assert other.poll() is None


def test_a_mark_is_found_in_the_environment_when_the_limits_are_others():
    mark = new_mark()
    environ = os.environ | {sweep.MARK: mark}
    with subprocess.Popen(["sleep", "3600"], env=environ) as child:
        until(lambda: sweep.Search([mark]).run()[mark])
        assert sweep.Search([mark]).run() == {mark: [child.pid]}
        assert sweep.Search([mark.partition(".")[0]]).run() == {mark.partition(".")[0]: [child.pid]}
        sweep.kill([mark.partition(".")[0]])
        assert child.wait() == -9


def test_grandchildren_in_sessions_of_their_own_are_found():
    mark = new_mark()
    with process(mark, command="setsid sleep 3600 & setsid setsid sleep 3600 & wait"):
        pids = until(lambda: (found := sweep.Search([mark]).run()[mark])[2:] and found)
        sweep.kill([mark])
        until(lambda: not any(map(alive, pids)))


def test_those_that_have_ended_count_and_are_not_waited_for():
    mark = new_mark()
    with process(mark, command="sh -c 'exit 0' & exec sleep 3600") as child:
        until(lambda: len(pids := sweep.Search([mark]).run()[mark]) == 2 and not all(map(alive, pids)))
        sweep.kill([mark])
        assert child.wait() == -9


def test_marks_differ_and_are_never_what_a_process_has_anyway():
    own = tuple(resource.getrlimit(carrier)[0] for carrier in sweep._CARRIERS)
    values = {sweep._limits_of(new_mark()) for _ in range(1_000)}
    assert len(values) == 1_000
    assert own not in values
    highest = [sweep._most(resource.getrlimit(carrier)[1]) for carrier in sweep._CARRIERS]
    for value in values:
        assert all(most // 2 <= each < most for each, most in zip(value, highest, strict=True))


@pytest.fixture
def watched():
    made = guard.Guard()
    yield made
    made.dismiss()


def test_what_a_worker_has_left_is_ended_when_it_has_ended(watched):
    mark = watched.watch(0)
    with process(mark) as child:
        assert watched.end(mark) == 0
        assert child.wait(60) == -9


def test_a_guard_that_was_killed_is_replaced_and_told_all_over_again():
    watched = guard.Guard()
    first = watched.watch(0)
    with process(first) as child:
        watched._process.kill()
        watched._process.wait()
        second = watched.watch(0)
        with process(second) as other:
            watched.dismiss()
            assert child.wait(60) == other.wait(60) == -9


def test_without_a_guard_the_server_does_it_itself(watched):
    mark = watched.watch(0)
    with process(mark) as child:
        watched._process.kill()
        watched._process.wait()
        assert watched.end(mark) == 0
        assert child.wait(60) == -9


def test_too_many_processes_are_counted_told_and_ended(watched):
    mark = watched.watch(5)
    few = watched.watch(5)
    many = "for i in 1 2 3 4 5 6 7 8 9; do sleep 3600 & done; wait"
    with process(mark, command=many) as child, process(few, command="sleep 3600 & wait") as other:
        assert child.wait(60) == -9
        assert other.poll() is None
        assert 5 < watched.end(mark) <= 10
        assert watched.end(few) == 0
