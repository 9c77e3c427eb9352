"""A worker dies: who is told, who isn't, and how soon all is as before."""

import json
import os
import signal
import threading
import time

import pytest

from dragoman import cli
from tests.workers.faulty import SLACK, Front, refused_softly, served, state_of, until
from tests.workers.load import Load, p99


def stop_in_a_batch(front, pid):
    """Hold a worker still while it works, so that nobody can say that it had ended already. Its batch's numbers."""
    while True:
        until(lambda: front.began(pid))
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) == "T")
        if batch := front.began(pid):
            return batch
        os.kill(pid, signal.SIGCONT)


def test_exactly_the_batch_that_ran_fails_and_soon_all_is_as_before(front):
    """R1, with two workers, forty requests a second, and a queue behind the batch."""
    with Load(front.url) as load:
        until(lambda: len(load.answers) >= 120)
        before = list(load.answers.values())
        victim, other = front.workers
        load.ask(count=12)
        batch = stop_in_a_batch(front, victim)
        load.ask(count=8)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        reborn = until(
            lambda: [note for note in front.journal if note.time > killed and note.event == "loaded"]
        )
        until(lambda: [note for note in front.journal if note.pid == reborn[0].pid and note.event == "began"])
        until(lambda: len(load.answers) >= 280)
    answers = load.ledger()
    failed = [answer for answer in answers if answer.status != 200]
    assert {answer.number for answer in failed} == batch
    for answer in failed:
        assert refused_softly(answer)
        assert "died (sigkill)" in json.loads(answer.body)["error"]
        assert answer.done - killed <= 0.25 + SLACK
    assert front.exits == {"sigkill": 1}
    assert set(front.crashes[0]["requests"]) == {str(number) for number in batch}
    assert len(front.workers) == 2

    (note,) = reborn  # capacity is back in the time that a load takes and half a second
    assert note.time - killed <= note.time - note.started + 0.5 + SLACK

    by_other = {
        n for note in front.journal if note.pid == other and note.event == "ended" for n in note.numbers
    }
    after = [answer for answer in answers if answer.number in by_other and answer.done > killed]
    assert p99(after) <= 2 * p99(before) + SLACK


def test_readiness_tells_the_truth_while_the_only_worker_is_replaced(tmp_path):
    """R1"""
    paths = {
        "/readyz": 503,
        "/v2/health/ready": 400,
        "/v2/models/Steady/ready": 400,
        "/v2/models/Steady/versions/1/ready": 400,
        "/v1/models/Steady": 503,
    }

    def states():
        return {path: front.ask("GET", path)[0] for path in paths}

    def ping():
        return front.ask("GET", "/ping")

    with Front(tmp_path) as front:
        assert set(states().values()) == {200}
        assert json.loads(front.ask("POST", "/v2/repository/index", {})[1])[0]["state"] == "READY"
        (pid,) = front.workers
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        until(lambda: front.ask("GET", "/v2/models/Steady/ready")[0] == 400)
        assert time.monotonic() - killed <= 0.2 + SLACK
        assert states() == paths
        (entry,) = json.loads(front.ask("POST", "/v2/repository/index", {})[1])
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "its workers are being replaced")
        assert json.loads(front.ask("POST", "/v2/repository/index", {"ready": True})[1]) == []
        assert ping()[0] == 200  # TorchServe's word for it: a worker that restarts is healthy
        until(lambda: set(states().values()) == {200})


def test_readiness_stays_while_another_worker_lives(front):
    """R1"""
    answers = set()
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            answers.update(front.ask("GET", path)[0] for path in ("/v2/models/Steady/ready", "/readyz"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    os.kill(front.workers[0], signal.SIGKILL)
    until(lambda: front.exits)
    until(lambda: len(front.workers) == 2)
    stop.set()
    watcher.join()
    assert answers == {200}


@pytest.mark.parametrize(
    ("command", "reason", "cause"),
    [
        ("exit", "exit", "exit code 3"),
        ("_exit", "exit", "exit code 3"),
        ("segv", "sigsegv", "SIGSEGV"),
        ("abort", "sigabrt", "SIGABRT"),
    ],
)
def test_every_way_to_die_is_named_and_costs_its_batch_alone(front, command, reason, cause):
    """R2, which is R1 for a death from inside: in the answer, in the log, in the report and in the metric."""
    with Load(front.url) as load:
        until(lambda: len(load.answers) >= 20)
        (number,) = load.ask(command, 3.0)
        until(lambda: load.answer(number))
        until(lambda: len(front.workers) == 2)
        done = len(load.answers)
        until(lambda: len(load.answers) >= done + 20)
    (fatal,) = [note for note in front.journal if note.event == "began" and number in note.numbers]
    failed = [answer for answer in load.ledger() if answer.status != 200]
    assert {answer.number for answer in failed} == set(fatal.numbers)
    for answer in failed:
        assert refused_softly(answer)
        assert f"died ({reason})" in json.loads(answer.body)["error"]
        assert answer.done - fatal.time <= 0.25 + SLACK
    assert front.exits == {reason: 1}
    (report,) = front.crashes
    assert report["reason"] == reason
    assert cause in report["cause"]
    (line,) = [event for event in front.events if event["event"] == "a worker died"]
    assert line["reason"] == reason
    assert cause in line["cause"]
    assert line["id"] == report["id"]


def test_what_was_handed_over_ahead_fails_nobody(one):
    """R1: a fast model has batches ahead; those that had not begun when it dies go to the next process."""
    for number in range(50):
        assert one.value("echo", float(number)) == float(number)
    pid = int(one.value("pid"))
    slow = one.later(("sleep", 3600.0, "victim"))
    until((one.folder / "asleep").exists)
    others = one.later(*[("echo", float(n)) for n in range(6)])
    until(lambda: one.waiting + one.running == 7)
    os.kill(pid, signal.SIGKILL)
    (failed,) = slow()
    assert refused_softly(failed), failed.body
    assert [answer.json()["outputs"][0]["data"][0] for answer in others()] == [float(n) for n in range(6)]
    assert [list(report.requests) for report in one.crashes] == [["victim"]]
    assert one.waiting == one.running == 0


def test_a_death_while_nothing_runs_fails_nobody(one):
    """R1"""
    os.kill(int(one.value("pid")), signal.SIGKILL)
    until(lambda: one.crashes)
    assert one.works()
    assert list(one.crashes[0].requests) == []


def test_what_a_model_raises_is_no_death(one):
    pid = one.value("pid")
    answer = one.ask("raise_")
    assert answer.status == 500
    assert "secret" not in answer.json()["error"]
    assert one.value("pid") == pid
    assert not one.exits


def test_the_report_has_the_last_words_the_memory_and_the_requests(one):
    answer = one.ask("_exit", 3.0, "victim")
    (report,) = one.crashes
    assert "about to exit" in report.output
    assert report.rss > 1_000_000
    assert report.requests == ["victim"]
    assert report.id in answer.json()["error"]


def test_people_can_ask_for_the_reports(one, capsys):
    assert one.client.get("/crashes").json() == []
    for code in (3.0, 4.0):
        one.ask("_exit", code, f"request {code:g}")
        until(one.works)
    reports = one.client.get("/crashes").json()
    assert [report["requests"] for report in reports] == [["request 4"], ["request 3"]]
    assert one.client.get("/crashes/Faulty").json() == reports
    assert one.client.get("/crashes/nobody").status == 404
    cli.app(["crashes", "Faulty", "--url", one.client.url], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "reason" in shown
    assert "exit code 4" in shown
    cli.app(["crashes", "--json", "--url", one.client.url], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == reports


def test_files_are_given_back(tmp_path):
    """Deaths leave no file descriptor behind."""

    def count():
        return len(os.listdir("/proc/self/fd"))

    with served(tmp_path) as server:
        server.ask("kill")
        until(server.works)
        before = count()
        for _ in range(3):
            server.ask("kill")
            until(server.works)
        assert count() <= before + 2


def test_the_number_of_exits_outlives_the_model(one):
    one.ask("kill")
    until(one.works)
    one.unload()
    assert one.exits == {"sigkill": 1}


def test_deaths_in_several_server_processes_add_up(tmp_path):
    with Front(tmp_path, "Steady", "--processes", "2") as front:
        for number, pid in enumerate(front.workers, start=1):
            os.kill(pid, signal.SIGKILL)
            until(lambda number=number: front.exits == {"sigkill": number})
        assert [front.exits for _ in range(8)] == [{"sigkill": 2}] * 8
        until(lambda: len(front.workers) == 2)
