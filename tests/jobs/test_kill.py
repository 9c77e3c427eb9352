"""A server that is killed with jobs in it, and one of several processes that is: every job has its one result."""

import json
import os
import signal
import sqlite3
import time
from contextlib import closing, suppress

from ..cli.running import LIMIT, Server

MODEL = """
import os
import time

import numpy as np


class Slow:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}
    batched = True
    max_batch = 1

    def predict(self, x):
        with open("calls", "a") as file:
            file.write(f"{int(x[0, 0])}\\n")
        while os.path.exists("hold"):
            time.sleep(0.01)
        return {"y": 2 * x}
"""
FLAGS = (
    "app.py:Slow",
    "--jobs-store",
    "jobs.db",
    "--jobs-lease",
    "1s",
    "--jobs-concurrency",
    "2",
    "--jobs-rows",
    "1",
)


def body(value):
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}]}


def put(server, id, value):
    return server.ask("PUT", f"/jobs/{id}?to=/v2/models/Slow/infer", body(value))


def put_rows(server, rows):
    with closing(server.connect()) as connection:
        connection.request("PUT", "/jobs/rows?model=Slow", rows)
        assert connection.getresponse().read()


def ask(server, path):
    """A process that is killed takes the connections with it that it was given: then another is asked."""
    for _ in range(5):
        with suppress(ConnectionError):
            status, answer = server.ask("GET", path)
            assert status == 200, answer
            return json.loads(answer)
    raise AssertionError("no process answers")


def get(server, id):
    return ask(server, f"/jobs/{id}")


def wait(what):
    deadline = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def calls(folder):
    file = folder / "calls"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def check_results(server, ids):
    for id in ids:
        wait(lambda name=id: get(server, name)["state"] == "done")
        assert ask(server, f"/jobs/{id}/result")["outputs"][0]["data"] == [2 * int(id[1:])]


def test_jobs_survive_the_death_of_their_server(tmp_path):
    (tmp_path / "app.py").write_text(MODEL)
    (tmp_path / "hold").touch()
    ids = [f"j{n}" for n in range(6)]
    with Server(tmp_path, *FLAGS) as server:
        assert [put(server, id, int(id[1:]))[0] for id in ids] == [202] * 6
        rows = b"".join(b"[%d]\n" % n for n in range(100, 105))
        put_rows(server, rows)
        wait(lambda: len(calls(tmp_path)) >= 1)
        server.process.kill()
        server.process.wait(LIMIT)
    begun = calls(tmp_path)
    (tmp_path / "hold").unlink()
    with Server(tmp_path, *FLAGS) as server:
        assert put(server, "j0", 0)[0] in (200, 202)  # who didn't hear that it was accepted asks again
        check_results(server, ids)
        wait(lambda: get(server, "rows")["state"] == "done")
        _, answer = server.ask("GET", "/jobs/rows/result")
        assert [json.loads(line)["y"] for line in answer.splitlines()] == [2 * n for n in range(100, 105)]
        assert max(get(server, f"j{n}")["attempts"] for n in begun if n < 100) == 2  # run again
    counts = calls(tmp_path)
    assert all(counts.count(n) == 1 + (n in begun) for n in range(6))


def test_a_run_over_rows_goes_on_where_it_was_killed(tmp_path):
    (tmp_path / "app.py").write_text(MODEL)
    rows = b"".join(b"[%d]\n" % n for n in range(200))
    with Server(tmp_path, *FLAGS) as server:
        put_rows(server, rows)
        wait(lambda: get(server, "rows")["rows"]["done"] >= 5)
        server.process.kill()
        server.process.wait(LIMIT)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        (done,) = connection.execute("SELECT rows_done FROM dragoman_jobs").fetchone()
        assert connection.execute("SELECT count(*) FROM dragoman_job_parts").fetchone() == (done,)
    assert 5 <= done < 200
    with Server(tmp_path, *FLAGS) as server:
        wait(lambda: get(server, "rows")["state"] == "done")
        _, answer = server.ask("GET", "/jobs/rows/result")
    assert [json.loads(line)["y"] for line in answer.splitlines()] == [2 * n for n in range(200)]
    counts = calls(tmp_path)
    assert sorted(set(counts)) == list(range(200))
    assert len(counts) <= 201  # of what was kept nothing was asked again


def test_of_several_processes_one_runs_a_job_and_another_takes_over(tmp_path):
    (tmp_path / "app.py").write_text(MODEL)
    (tmp_path / "hold").touch()
    ids = [f"j{n}" for n in range(4)]
    with Server(tmp_path, *FLAGS, "--processes", "2") as server:
        for id in ids:
            assert put(server, id, int(id[1:]))[0] == 202
        wait(lambda: len(calls(tmp_path)) == 2)  # each process has one worker, which answers one at a time
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            query = "SELECT count(DISTINCT owner) FROM dragoman_jobs WHERE state = 'running'"
            wait(lambda: connection.execute(query).fetchone() == (2,))
        before = calls(tmp_path)
        children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"
        with open(children) as file:
            victim = int(file.read().split()[0])
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "hold").unlink()
        check_results(server, ids)
    counts = calls(tmp_path)
    assert all(1 <= counts.count(n) <= 1 + (n in before) for n in range(4))
