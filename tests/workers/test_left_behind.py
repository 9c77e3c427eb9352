"""What a model starts ends with it, wherever it hides; and one that starts without end is stopped."""

import re
import signal
import statistics
import time
from pathlib import Path

import pytest

from dragoman.workers import sweep
from tests.workers.faulty import SLACK, Front, alive, read_later, until
from tests.workers.load import Load, p99

DAEMONS = ["fork", "program", "clean_program"]


def start(server, command):
    """What the model has started."""
    value = int(server.value(command))
    return value if command == "program" else int(read_later(server.folder / "daemon"))


@pytest.mark.parametrize("ending", ["unload", "death"])
@pytest.mark.parametrize("command", DAEMONS)
def test_nothing_that_a_model_has_started_outlives_it(one, command, ending):
    """R6"""
    pids = [int(one.value("pid")), start(one, command)]
    assert all(map(alive, pids))
    if ending == "death":
        one.ask("segv")
    else:
        one.unload()
    ended = time.monotonic()
    until(lambda: not any(map(alive, pids)))
    assert time.monotonic() - ended <= 2.0 + SLACK


@pytest.mark.parametrize("ending", ["kill_parent", "SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("command", DAEMONS)
def test_nothing_outlives_the_server(tmp_path, command, ending):
    """R6, R9: however it ends, and be it by the model's own hand."""
    with Front(tmp_path, "Faulty") as front:
        pids = [int(front.value("pid")), start(front, command)]
        assert all(map(alive, pids))
        if ending == "kill_parent":
            with pytest.raises(OSError):
                front.value("kill_parent")
        else:
            front.process.send_signal(signal.Signals[ending])
        front.process.wait(60)
        ended = time.monotonic()
        until(lambda: not any(map(alive, pids)))
        assert time.monotonic() - ended <= 2.0 + SLACK


def test_threads_left_behind_do_not_hold_an_unload(one):
    """R6"""
    one.value("thread_leak", 500.0)
    assert one.works()
    pid = int(one.value("pid"))
    one.unload()
    assert not alive(pid)


@pytest.mark.parametrize("command", ["bomb", "bomb_of_sessions", "bomb_of_zombies", "bomb_of_bombs"])
def test_a_fork_bomb_is_stopped_and_the_server_hardly_notices(tmp_path, command):
    """R6: ten thousand forks. The bomb itself gives up at two thousand, should nobody stop it."""
    with Front(tmp_path, instances=2, max_processes=200) as front:
        with Load(front.url) as load:
            until(lambda: len(load.answers) >= 60)
            before = list(load.answers.values())
            (number,) = load.ask(command)
            until(lambda: load.answer(number))
            until(lambda: len(front.workers) == 2)
            done = len(load.answers)
            until(lambda: len(load.answers) >= done + 40)
        fatal = {n for note in front.journal if number in note.numbers for n in note.numbers}
        failed = [answer for answer in load.ledger() if answer.status != 200]
        assert {answer.number for answer in failed} == fatal
        assert all(answer.status == 503 and b"died (processes)" in answer.body for answer in failed)
        assert front.exits == {"processes": 1}
        assert "more than 200" in front.crashes[0]["cause"]
        assert not (tmp_path / "the bomb went off").exists()
        after = [answer for answer in load.ledger() if answer.status == 200 and answer.number > number]
        assert statistics.median(a.seconds for a in after) <= 2 * p99(before) + SLACK
        until(lambda: len(marked(front)) == 2)


def marked(front):
    """The workers of a server, and what they have started."""
    environment = Path(f"/proc/{front.workers[0]}/environ").read_bytes()
    server = re.search(rf"{sweep.MARK}=(\w+)\.".encode(), environment)[1].decode()
    return [pid for pid in sweep.Search([server]).run()[server] if alive(pid)]
