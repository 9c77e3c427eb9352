"""A model hangs: its request is answered in time, its process is ended, and whoever waited behind it is answered."""

import re
import time

import pytest

from tests.workers.faulty import SLACK, Front, alive, read_later, served, until
from tests.workers.load import Load

HANGS = ["hang", "hang_stubborn", "hang_gil", "hang_c"]


@pytest.mark.parametrize("command", HANGS)
def test_a_hang_is_answered_in_time_and_the_next_request_starts_soon(tmp_path, command):
    """R3: in Python, in Python that won't be asked to end, in C that holds the lock on Python, and in C."""
    with Front(tmp_path, response_timeout=1.0) as front:
        with Load(front.url, rate=1.0) as load:
            until(lambda: load.answers)
            (pid,) = front.workers
            (hung,) = load.ask(command)
            (began,) = until(lambda: [n for n in front.journal if hung in n.numbers])
            queued = load.ask(count=5)
            answer = until(lambda: load.answer(hung))
            until(lambda: all(map(load.answer, queued)))
        assert answer.status == 504
        assert answer.done - began.time <= 1.0 + 0.2 + SLACK
        assert {each.status for each in load.ledger() if each.number not in began.numbers} == {200}
        (loaded,) = [n for n in front.journal if n.event == "loaded" and n.pid != pid]
        next_one = min(n.time for n in front.journal if n.pid == loaded.pid and n.event == "began")
        assert next_one - answer.done <= loaded.time - loaded.started + 0.5 + SLACK
        assert front.exits == {"timeout": 1}
        until(lambda: not alive(pid))


def test_a_process_is_asked_to_end_and_has_two_seconds(tmp_path):
    """R3"""
    with served(tmp_path, response_timeout=1.0) as server:
        pid = int(server.value("pid"))
        assert server.ask("hang_stubborn").status == 504
        asked = float(read_later(tmp_path / "asked to end"))
        until(lambda: not alive(pid))
        assert 2.0 - 0.1 <= time.monotonic() - asked <= 2.0 + SLACK
        (report,) = server.crashes
        assert report.cause.reason == "timeout"
        assert "1 s" in report.cause.words
        assert server.exits == {"timeout": 1}
        assert server.works()


def test_a_clients_own_deadline_is_kept_whatever_the_model_does(tmp_path):
    """R3"""
    with served(tmp_path, response_timeout=2.0) as server:
        assert server.works()
        start = time.monotonic()
        answer = server.ask("hang_gil", timeout=500_000)
        assert answer.status == 504
        assert 0.5 <= time.monotonic() - start <= 0.5 + 0.2 + SLACK
        assert re.search("time was up", answer.json()["error"])


def test_hanging_again_and_again_opens_the_breaker(tmp_path):
    """R5: a hang is a death like any other."""
    with served(tmp_path, response_timeout=0.1) as server:
        until(lambda: "died 5 times" in server.ask("hang").json()["error"])
        until(server.works)
        assert server.works()
