"""A model that dies again and again: it is tried less and less often, refused at once, and taken back by itself."""

import itertools
import time

from tests.workers.faulty import SLACK, refused_softly, seconds_of, served, until
from tests.workers.load import Load, p99


def test_a_model_that_dies_on_load_is_refused_at_once_and_taken_back_when_it_is_repaired(front):
    """R5, under load: five deaths of each worker, quick refusals, little work, and a recovery that nobody asks for."""
    with Load(front.url) as load:
        until(lambda: len(load.answers) >= 20)
        (front.folder / "broken").touch()
        for _ in range(2):
            load.ask("_exit", 7.0)
            until(lambda: len(front.workers) < 2)
        until(lambda: front.exits.get("exit", 0) >= 10)
        opened, used = time.monotonic(), seconds_of(front.pid)
        until(lambda: time.monotonic() >= opened + 3)
        looping = time.monotonic()
        busy = (seconds_of(front.pid) - used) / (looping - opened)
        (front.folder / "broken").unlink()
        until(lambda: len(front.workers) == 2, 60)
        repaired = time.monotonic()
        until(lambda: [a for a in load.answers.values() if a.due > repaired + 1 and a.status == 200])
    answers = load.ledger()
    assert busy <= 0.05

    refused = [answer for answer in answers if opened < answer.due < looping]
    assert len(refused) >= 90
    assert all(refused_softly(answer) and b"died 5 times in 60 s" in answer.body for answer in refused)
    seconds = sorted(answer.seconds for answer in refused)
    assert seconds[len(seconds) // 10] <= 0.01  # nothing is waited for: what takes longer is a busy machine
    assert p99(refused) <= 0.01 + SLACK

    assert {answer.status for answer in answers if answer.due > repaired + 1} == {200}


def test_waits_between_deaths_grow(tmp_path):
    """R5"""
    with served(tmp_path) as server:
        (tmp_path / "broken").touch()
        server.ask("_exit", 7.0)
        until(lambda: len(server.crashes) >= 6)
        check_waits(server)


def test_waits_grow_for_a_replacement_that_cannot_load_although_the_old_process_answers(tmp_path):
    """R5"""
    with served(tmp_path, max_requests=1) as server:
        (tmp_path / "broken").touch()
        pid = server.value("pid")
        until(lambda: server.value("pid") == pid and len(server.crashes) >= 6)
        check_waits(server)
        assert server.value("pid") == pid
        assert server.client.call(lambda: server.model.ready and not server.model.broken)


def check_waits(server):
    deaths = [report.time for report in server.crashes]
    waits = [later - earlier for earlier, later in itertools.pairwise(deaths)]
    for wait, least in zip(waits, (0.075, 0.15, 0.3, 0.6, 1.2), strict=False):
        assert wait >= least


def test_while_it_is_open_one_request_at_a_time_may_try(tmp_path):
    """R5: half open, with requests that come together."""
    with served(tmp_path) as server:
        while "died 5 times" not in server.ask("_exit", 7.0).json()["error"]:
            pass
        until(lambda: server.client.call(lambda: server.model.ready), 60)
        probe = server.later(("sleep", 1.0))
        until((tmp_path / "asleep").exists)
        answer = server.ask("echo")
        assert refused_softly(answer)
        assert "died 5 times" in answer.json()["error"]
        assert probe()[0].status == 200
        assert server.works()
