"""A model that does everything wrong, behind a real server: who else notices, and what people are told about it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dragoman import cli
from dragoman.config import ModelSettings, Settings
from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact
from dragoman.testing import TestClient
from dragoman.workers import guard, pool

MODEL = """
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np

kept = []


class Faulty:
    inputs = {"command": ("BYTES", [1]), "argument": ("FP64", [1])}
    outputs = {"value": ("FP64", [1])}

    def __init__(self, path):
        self.path = path
        self.served = 0
        if (path / "broken").exists():
            os._exit(7)

    def predict(self, command, argument):
        self.served += 1
        name = command[0]
        result = getattr(self, name.decode() if isinstance(name, bytes) else name)(argument[0])
        return {"value": np.ones(1)} if result is None else result

    def pid(self, _):
        return {"value": np.array([float(os.getpid())])}

    def echo(self, value):
        return {"value": np.array([value])}

    def sleep(self, seconds):
        (self.path / "asleep").touch()
        time.sleep(seconds)

    def sys_exit(self, code):
        sys.exit(int(code))

    def exit(self, code):
        print("about to exit")
        os._exit(int(code))

    def segv(self, _):
        ctypes.string_at(0)

    def abort(self, _):
        os.abort()

    def kill(self, _):
        os.kill(os.getpid(), signal.SIGKILL)

    def hang(self, _):
        while True:
            pass

    def hang_stubborn(self, _):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass

    def hang_gil(self, _):
        ctypes.PyDLL(None).sleep(3600)

    def oom(self, _):
        while True:
            kept.append(bytearray(1 << 24))

    def daemon(self, _):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                (self.path / "daemon.tmp").write_text(str(os.getpid()))
                os.rename(self.path / "daemon.tmp", self.path / "daemon")
                signal.pause()
            os._exit(0)

    def program(self, _):
        child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        kept.append(child)
        return {"value": np.array([float(child.pid)])}

    def threads(self, count):
        for _ in range(int(count)):
            threading.Thread(target=time.sleep, args=(3600,)).start()

    def stdout(self, size):
        sys.stdout.write("x" * int(size))

    def stderr(self, _):
        os.write(2, b"caf\\xe9 \\xff\\xfe" * 1000)

    def many_lines(self, count):
        os.write(1, b"line\\n" * int(count))

    def wrong_count(self, _):
        return {"value": np.ones(1), "more": np.ones(1)}

    def wrong_dtype(self, _):
        return {"value": np.ones(1, np.int32)}

    def wrong_shape(self, _):
        return {"value": np.ones((2, 2))}

    def wrong_kind(self, _):
        return object()

    def nan(self, _):
        return {"value": np.array([np.nan])}

    def leak(self, size):
        kept.append(b"x" * int(size))

    def _files(self, kind):
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if kind in os.readlink(f"/proc/self/fd/{fd}"):
                    yield fd
            except OSError:
                pass

    def garbage_eventfds(self, _):
        for fd in self._files("eventfd"):
            os.write(fd, b"\\xfe" + b"\\xff" * 7)
        time.sleep(3600)

    def garbage_socket(self, _):
        for fd in self._files("socket"):
            os.write(fd, os.urandom(4096))
        time.sleep(3600)

    def false_metrics(self, _):
        text = b'{"series": [["n", "counter", "u", []]], "values": [[0, 1.0, "", "now"]]}'
        for fd in self._files("socket"):
            os.write(fd, b"M" + len(text).to_bytes(4, "little") + text)
        time.sleep(3600)

    def endless_metrics(self, _):
        for fd in self._files("socket"):
            os.write(fd, b"M" + (1 << 21).to_bytes(4, "little"))
        time.sleep(3600)

    def garbage_rings(self, _):
        for fd in self._files("dragoman-ring"):
            os.pwrite(fd, os.urandom(1 << 20), 0)

    def garbage_frames(self, _):
        self.garbage_rings(_)
        for fd in self._files("eventfd"):
            os.eventfd_write(fd, 3)
        time.sleep(3600)

    def zeros_in_rings(self, _):
        for fd in self._files("dragoman-ring"):
            os.pwrite(fd, bytes(1 << 20), 0)

    def close_everything(self, _):
        os.closerange(3, 256)
"""


def until(condition, seconds=15):
    """Wait for a condition; its value. The bound is generous: nothing here is about speed."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Served:
    """A running server with the faulty model in it."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder

    def ask(self, command, argument=0.0, id=""):
        inputs = [
            {"name": "command", "shape": [1], "datatype": "BYTES", "data": [command]},
            {"name": "argument", "shape": [1], "datatype": "FP64", "data": [argument]},
        ]
        return self.client.post("/v2/models/Faulty/infer", {"id": id, "inputs": inputs})

    def value(self, command, argument=0.0):
        answer = self.ask(command, argument)
        assert answer.status == 200, answer.body
        return answer.json()["outputs"][0]["data"][0]

    def works(self):
        answer = self.ask("echo", 5.0)
        return answer.status == 200 and answer.json()["outputs"][0]["data"] == [5.0]

    def later(self, *calls):
        """Ask these from threads of their own; gives a function that waits for all answers."""
        answers = [None] * len(calls)

        def run(place, call):
            answers[place] = self.ask(*call)

        threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
        for thread in threads:
            thread.start()

        def wait():
            for thread in threads:
                thread.join(60)
            return answers

        return wait

    def unload(self):
        work = self.client.app.engine.lifecycle.unload("Faulty", "1")
        asyncio.run_coroutine_threadsafe(work, self.client._loop).result(60)

    @property
    def model(self):
        return self.client.app.engine.find("Faulty", "")

    @property
    def crashes(self):
        return self.client.call(lambda: self.model.crashes)

    @property
    def waiting(self):
        return self.client.call(lambda: self.model.stats.waiting)

    @property
    def running(self):
        return self.client.call(lambda: self.model.stats.running)


@contextmanager
def served(folder, strict=True, **settings):
    (folder / "app.py").write_text(MODEL)
    client = TestClient(
        f"{folder / 'app.py'}:Faulty", settings=Settings(models=ModelSettings(**settings)), strict=strict
    )
    with client:
        yield Served(client, folder)


@pytest.fixture
def one(tmp_path):
    with served(tmp_path) as server:
        yield server


def refused_softly(answer):
    return answer.status == 503 and int(answer.headers["retry-after"]) > 0


def test_only_the_request_that_ran_fails_and_the_queue_is_answered(one):
    """R1"""
    pid = int(one.value("pid"))
    running = one.later(("sleep", 3600.0, "victim"))
    until((one.folder / "asleep").exists)
    queued = one.later(*[("echo", float(n)) for n in range(6)])
    until(lambda: one.waiting == 6)
    os.kill(pid, signal.SIGKILL)
    (failed,) = running()
    assert refused_softly(failed), failed.body
    assert [answer.json()["outputs"][0]["data"][0] for answer in queued()] == [float(n) for n in range(6)]
    (report,) = one.crashes
    assert report.requests == ["victim"]
    assert report.rss > 1_000_000
    assert report.id in failed.json()["error"]
    assert int(one.value("pid")) != pid


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
    pid = int(one.value("pid"))
    os.kill(pid, signal.SIGKILL)
    until(lambda: one.crashes)
    assert one.works()
    assert list(one.crashes[0].requests) == []


def test_the_other_instance_works_on(tmp_path):
    """R1"""
    with served(tmp_path, instances=2) as server:
        running = server.later(("sleep", 1.0))
        until((tmp_path / "asleep").exists)
        assert server.ask("kill").status == 503
        assert server.works()
        assert running()[0].status == 200


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        ("exit", "exit code 3"),
        ("segv", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("kill", "SIGKILL"),
    ],
)
def test_every_cause_of_death_is_named(one, command, cause, caplog):
    """R2"""
    answer = one.ask(command, 3.0)
    assert refused_softly(answer)
    assert cause in one.crashes[0].cause
    assert any(
        cause in record.__dict__.get("cause", "")
        for record in caplog.records
        if record.name == "dragoman.workers"
    )
    assert one.works()


def test_last_words_are_in_the_report(one):
    one.ask("exit", 3.0)
    assert "about to exit" in one.crashes[0].output


def test_people_can_ask_for_the_reports(one, capsys):
    assert one.client.get("/crashes").json() == []
    for code in (3.0, 4.0):
        one.ask("exit", code, f"request {code:g}")
        until(one.works)
    reports = one.client.get("/crashes").json()
    assert [report["requests"] for report in reports] == [["request 4"], ["request 3"]]
    assert one.client.get("/crashes/Faulty").json() == reports
    assert one.client.get("/crashes/nobody").status == 404
    cli.app(["crashes", "Faulty", "--url", one.client.url], standalone_mode=False)
    assert "exit code 4" in capsys.readouterr().out
    cli.app(["crashes", "--json", "--url", one.client.url], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == reports


def test_sys_exit_is_only_a_failed_request(one):
    """R2"""
    pid = one.value("pid")
    assert one.ask("sys_exit", 3.0).status == 500
    assert one.value("pid") == pid
    assert not one.crashes


@pytest.mark.parametrize("command", ["hang", "hang_stubborn", "hang_gil"])
def test_a_hang_is_answered_in_time_and_ended(tmp_path, command):
    """R3"""
    with served(tmp_path, response_timeout=1.0) as server:
        pid = int(server.value("pid"))
        assert server.ask(command).status == 504
        assert "1 s" in server.crashes[0].cause
        assert server.works()
        until(lambda: not alive(pid))


def test_memory_without_end_harms_nobody_else(tmp_path):
    """R4"""
    with served(tmp_path, max_memory=1 << 30) as server:
        assert server.ask("oom").status in (500, 503)
        until(server.works)


def test_a_crash_loop_is_refused_at_once_and_ends_by_itself(one):
    """R5"""
    (one.folder / "broken").touch()
    assert refused_softly(one.ask("exit", 7.0))
    until(lambda: len(one.crashes) >= 5)
    answer = one.ask("echo", 1.0)
    assert refused_softly(answer)
    assert "died 5 times" in answer.json()["error"]
    (one.folder / "broken").unlink()
    until(one.works, 60)
    assert one.works()


def test_dying_on_every_request_opens_the_breaker_too(one):
    """R5"""
    until(lambda: "died 5 times" in one.ask("exit", 7.0).json()["error"], 60)
    until(one.works, 60)


def test_a_model_that_dies_while_it_loads_says_so(tmp_path):
    (tmp_path / "broken").touch()
    with served(tmp_path, strict=False) as server:
        (record,) = server.client.app.engine.index()
        assert "exit code 7" in record.reason


@pytest.mark.parametrize("ending", ["unload", "death"])
@pytest.mark.parametrize("command", ["daemon", "program"])
def test_nothing_that_a_model_has_started_outlives_it(one, command, ending):
    """R6"""
    pids = [int(one.value("pid")), int(one.value(command))]
    if command == "daemon":
        pids[1] = int(until(lambda: (one.folder / "daemon").exists() and (one.folder / "daemon").read_text()))
    assert all(map(alive, pids))
    if ending == "death":
        one.ask("segv")
    else:
        one.unload()
    until(lambda: not any(map(alive, pids)))


def test_threads_left_behind_do_not_hold_an_unload(one):
    """R6"""
    one.value("threads", 20.0)
    pid = int(one.value("pid"))
    one.unload()
    assert not alive(pid)


def test_nothing_outlives_a_server_that_is_killed(tmp_path):
    """R6, R9"""
    (tmp_path / "app.py").write_text(MODEL)
    command = [
        sys.executable,
        "-m",
        "dragoman",
        "serve",
        "app.py:Faulty",
        "--port",
        "0",
        "--log-format",
        "json",
    ]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, stderr=log) as process,
    ):
        try:
            found = until(
                lambda: re.search(r'"ready".*"url": ?"http://[^"]*:(\d+)"', _log(tmp_path, process))
            )
            client = TestClient()
            client.app = type("App", (), {"port": int(found[1])})
            server = Served(client, tmp_path)
            pids = [int(server.value("pid")), int(server.value("program"))]
            server.value("daemon")
            pids.append(
                int(until(lambda: (tmp_path / "daemon").exists() and (tmp_path / "daemon").read_text()))
            )
            assert all(map(alive, pids))
        finally:
            process.kill()
        until(lambda: not any(map(alive, pids)))


def _log(folder, process):
    text = (folder / "log").read_text()
    assert process.poll() is None, text
    return text


@pytest.mark.parametrize(("command", "argument"), [("stdout", 2e6), ("stderr", 0.0), ("many_lines", 1e6)])
def test_what_a_model_prints_disturbs_nothing(one, command, argument):
    """R7"""
    assert one.value(command, argument) == 1.0
    assert one.works()
    assert not one.crashes


@pytest.mark.parametrize("command", ["wrong_count", "wrong_dtype", "wrong_shape", "wrong_kind"])
def test_a_broken_promise_fails_its_own_request(one, command):
    """R8"""
    pid = one.value("pid")
    assert one.ask(command).status == 500
    assert one.value("pid") == pid


def test_nan_crosses_bit_by_bit(one):
    """R8"""
    inputs = {"command": np.array([b"nan"], object), "argument": np.zeros(1)}
    assert np.isnan(one.client.infer("Faulty", inputs)["value"][0])


@pytest.mark.parametrize("settings", [{"max_rss": 150_000_000}, {"max_requests": 3}], ids=str)
def test_ten_processes_are_replaced_under_load_without_a_failure(tmp_path, settings):
    """R10"""
    with served(tmp_path, **settings) as server:
        stop = threading.Event()
        statuses = []

        def load():
            while not stop.is_set():
                statuses.append(server.ask("leak", 1e7).status)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        pids = set()
        try:
            until(lambda: pids.add(server.value("pid")) or len(pids) > 10, 90)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert set(statuses) == {200}
        assert not server.crashes


@pytest.mark.parametrize(
    "command",
    [
        "garbage_eventfds",
        "garbage_socket",
        "garbage_frames",
        "false_metrics",
        "endless_metrics",
        "close_everything",
    ],
)
def test_garbage_from_a_worker_ends_that_worker_alone(one, command):
    """R11"""
    pid = one.value("pid")
    for _ in range(3):
        assert one.ask(command).status in (200, 503)  # it may have answered before it is found out
        until(one.works)
    until(lambda: one.value("pid") != pid)
    assert one.client.get("/livez").status == 200


@pytest.mark.parametrize("command", ["zeros_in_rings", "garbage_rings"])
def test_positions_that_jump_stop_nobody(one, command):
    """R11"""
    for _ in range(3):
        assert one.ask(command).status in (200, 503)
        for _ in range(20):
            until(one.works)


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


def test_a_replacement_that_cannot_load_takes_nothing_away(tmp_path):
    """The worn-out process works on until there is one to replace it, and nobody notices."""
    with served(tmp_path, max_requests=1) as server:
        pid = server.value("pid")  # the replacement for this one loads already, or has loaded
        until(lambda: server.value("pid") != pid)
        (tmp_path / "broken").touch()
        until(lambda: server.works() and len(server.crashes) >= 2)
        for _ in range(20):
            assert server.works()
        (tmp_path / "broken").unlink()
        pid = server.value("pid")
        until(lambda: server.value("pid") != pid, 60)


def test_a_hang_while_the_replacement_is_ready_is_survived(tmp_path):
    with served(tmp_path, max_requests=2, response_timeout=2.0) as server:
        assert server.works()
        assert server.works()  # a replacement loads, and is ready before the hang is given up
        assert server.ask("hang").status == 504
        until(server.works)


def test_a_death_while_the_replacement_is_ready_is_survived(tmp_path):
    with served(tmp_path, max_requests=2) as server:
        pid = int(server.value("pid"))
        assert server.works()
        running = server.later(("sleep", 3600.0))
        until((tmp_path / "asleep").exists)
        until(lambda: len(_marked()) == 2)
        os.kill(pid, signal.SIGKILL)
        running()
        until(server.works)


def _marked():
    """Every process that is one of this server's workers."""
    mark = f"{guard.MARK}={guard.watch()}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in Path(f"/proc/{name}/environ").read_bytes():
                found.append(int(name))
        except OSError:
            pass
    return found


def test_unloading_while_a_replacement_loads_ends_both(tmp_path):
    with served(tmp_path, max_requests=1) as server:
        server.value("pid")
        server.unload()
        assert not _marked()


def _start(folder, instances=1):
    (folder / "app.py").write_text("import time\n" + MODEL)
    artifact = Artifact("Faulty", "1", folder / "app.py", "app.py:Faulty", trusted=True)
    return pool.start(artifact, "python", ModelSettings(instances=instances))


def test_a_load_that_is_given_up_leaves_nothing(tmp_path):
    async def scenario():
        task = asyncio.create_task(_start(tmp_path, instances=2))
        while len(_marked()) < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not _marked()

    asyncio.run(scenario())


def test_where_no_process_can_be_started_the_load_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(11, "no process to spare")

    guard.watch()

    async def scenario():
        before = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", refuse)
            with pytest.raises(ConfigError, match="no process to spare"):
                await _start(tmp_path, instances=2)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())
