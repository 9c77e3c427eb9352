"""Several processes on one port: for the outside they are one."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from dragoman.config import ModelSettings, Settings
from dragoman.errors import ConfigError
from dragoman.stats import Stats
from dragoman.supervisor.child import read_settings
from dragoman.supervisor.messages import Channel, decode, encode
from dragoman.supervisor.totals import Totals
from dragoman.transport import address
from tests.cli.running import LIMIT, MODELS, SUM, Server, dragoman, question

TWO = ("--processes", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(MODELS)
    return tmp_path


def children(server: Server) -> list[psutil.Process]:
    """Its server processes."""
    found = psutil.Process(server.process.pid).children()
    return [each for each in found if "dragoman.supervisor.child" in each.cmdline()]


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def count(server: Server, line: str = 'requests_total{code="ok",dialect="v2",model="Sum"') -> float:
    """A number of ``/metrics``, asked on a connection of its own, which may reach any process."""
    status, body = server.ask("GET", "/metrics")
    assert status == 200
    return sum(
        float(each.rsplit(" ", 1)[1])
        for each in body.decode().splitlines()
        if line in each and each[0] != "#"
    )


def ask_until_answered(server: Server) -> None:
    """A connection that waited for a process that has died is cut, once."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            assert server.ask("POST", "/v2/models/Sum/infer", SUM)[0] == 200
            return
        except OSError:
            assert time.monotonic() < deadline


def test_the_numbers_are_one_and_a_process_that_dies_comes_back(folder):
    with Server(folder, "app.py:Sum", *TWO) as server:
        assert server.ask("GET", "/readyz")[0] == 200
        for _ in range(200):
            assert server.ask("POST", "/v2/models/Sum/infer", SUM)[0] == 200
        assert [count(server) for _ in range(8)] == [200] * 8
        assert count(server, "dragoman_http_requests_in_flight") == 1  # the scrape itself
        for _ in range(8):
            stats = json.loads(server.ask("GET", "/stats")[1])
            assert stats["models"][0]["answers"] == {"v2": {"ok": 200}}
            assert "memory_bytes" not in stats["models"][0], "each process has its own"

        victim, other = children(server)
        victim.kill()
        died = server.wait_for("a server process died, another takes its place")
        assert (died["pid"], died["reason"]) == (victim.pid, "signal SIGKILL")
        for _ in range(20):
            ask_until_answered(server)
        assert count(server) >= 220
        server.wait_for("a new server process serves")
        before = count(server)
        assert 220 <= before <= 240
        for _ in range(20):
            assert server.ask("POST", "/v2/models/Sum/infer", SUM)[0] == 200
        assert {count(server) for _ in range(8)} == {before + 20}

        pids = children(server)
        assert len(pids) == 2
        assert other in pids
        assert server.stop() == 0
        assert gone(pids, 0.1)


def test_both_processes_answer(folder):
    with Server(folder, "app.py:Pid", *TWO) as server:
        body = question(("x", [1], [0]))
        answers = [server.ask("POST", "/v2/models/Pid/infer", body)[1] for _ in range(50)]
        pids = {json.loads(answer)["outputs"][0]["data"][0] for answer in answers}
        assert pids == {each.pid for each in children(server)}


def test_children_die_with_a_parent_that_is_killed(folder):
    with Server(folder, "app.py:Sum", *TWO) as server:
        pids = children(server)
        server.process.kill()
        assert gone(pids, 2)


def test_accepted_requests_are_answered_after_ctrl_c(folder):
    with Server(folder, "app.py:Slow", *TWO) as server:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(_slow(server, 0.5))) for _ in range(4)]
        for thread in threads:
            thread.start()
        _wait_until(lambda: count(server, "dragoman_http_requests_in_flight") == 5)
        assert server.stop(signal.SIGINT) == 0
        for thread in threads:
            thread.join()
        assert answers == [200] * 4


def test_a_second_signal_stops_all_at_once(folder):
    with Server(folder, "app.py:Slow", *TWO) as server:
        pids = children(server)
        asking = threading.Thread(target=lambda: suppress_errors(lambda: _slow(server, 60)))
        asking.start()
        _wait_until(lambda: count(server, "dragoman_http_requests_in_flight") == 2)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping: every accepted request is answered first")
        assert server.stop(signal.SIGINT) == 128 + signal.SIGINT
        assert gone(pids, 1)
        asking.join()


def test_a_port_that_is_taken_is_taken_for_several_too(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = dragoman("serve", "app.py:Sum", *TWO, "--port", port, cwd=folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 2)
    assert f"error: can't listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_what_a_child_refuses_is_told_once(folder):
    done = dragoman("serve", "nothing.onnx", *TWO, "--port", "0", cwd=folder)
    assert done.returncode == 78
    assert done.stderr.count("error: there is no file or folder 'nothing.onnx'") == 1


def test_if_every_model_fails_the_server_fails(folder):
    done = dragoman("serve", "app.py:Broken", *TWO, "--port", "0", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.count("error: no model could be loaded") == 1


def test_a_model_that_kills_its_process_at_the_start_ends_the_server(folder):
    (folder / "app.py").write_text("import os\nos._exit(7)\n")
    done = dragoman("serve", "app.py:Sum", *TWO, "--port", "0", cwd=folder)
    assert done.returncode == 1
    assert "exit code 7" in done.stderr


def test_a_signal_while_models_load_stops_cleanly(folder):
    (folder / "app.py").write_text("import time\ntime.sleep(2)\n")
    with Server(folder, "app.py:Sum", *TWO, wait=False) as server:
        server.wait_for("listening", count=2)
        assert server.stop() == 0


def test_nobody_is_ready_before_all_are(folder):
    """One of the two loads later than the other: until then no process says that it is ready."""
    (folder / "app.py").write_text(
        "import os, time\n"
        "try:\n    os.mkdir('first')\nexcept FileExistsError:\n    pass\nelse:\n"
        "    while not os.path.exists('go'):\n        time.sleep(0.01)\n" + MODELS
    )
    with Server(folder, "app.py:Sum", *TWO, wait=False) as server:
        server.wait_for("model ready")
        server.url = server.wait_for("listening", count=2)["url"]
        assert {server.ask("GET", "/readyz")[0] for _ in range(20)} == {503}
        assert {server.ask("GET", "/livez")[0] for _ in range(20)} == {200}
        (folder / "go").touch()
        server.wait_for("ready")
        _wait_until(lambda: {server.ask("GET", "/readyz")[0] for _ in range(20)} == {200})


def test_a_process_that_comes_back_without_its_models_never_listens(folder):
    (folder / "app.py").write_text(
        "import os\nif os.path.exists('bad'):\n    raise OSError('disk')\n" + MODELS
    )
    with Server(folder, "app.py:Sum", *TWO) as server:
        (folder / "bad").touch()
        children(server)[0].kill()
        server.wait_for("a new process can't load what the others serve")
        (folder / "bad").unlink()
        server.wait_for("a new server process serves")
        for _ in range(20):
            assert server.ask("POST", "/v2/models/Sum/infer", SUM)[0] == 200


def test_numbers_of_the_dead_are_kept_and_what_they_did_is_not():
    async def scenario() -> None:
        totals = Totals()
        totals.put(1, numbers(ok=3, running=2, in_flight=2))
        totals.put(2, numbers(ok=4, running=1, in_flight=1))
        totals.bury(1)
        totals.bury(3)  # never said a word
        answer = await totals.gather(
            lambda serial: totals.put(2, numbers(ok=5, running=1, in_flight=1, serial=serial))
        )
        stats = Stats()
        stats.add(answer["stats"])
        assert stats.of("m", "1").answers["v2", "ok"] == 8
        assert (stats.of("m", "1").running, answer["in_flight"]) == (1, 1)

    asyncio.run(scenario())


def test_a_silent_process_counts_with_its_last_numbers(monkeypatch):
    monkeypatch.setattr("dragoman.supervisor.totals.PATIENCE", 0.05)

    async def scenario() -> None:
        totals = Totals()
        totals.put(1, numbers(ok=3))
        answer = await totals.gather(lambda serial: None)
        stats = Stats()
        stats.add(answer["stats"])
        assert stats.of("m", "1").answers["v2", "ok"] == 3

    asyncio.run(scenario())


def numbers(ok: int, running: int = 0, in_flight: int = 0, serial: int = 0) -> dict:
    stats = Stats()
    stats.of("m", "1").answers["v2", "ok"] = ok
    stats.of("m", "1").running = running
    return {"serial": serial, "stats": stats.snapshot(), "in_flight": in_flight}


def test_messages_have_the_fields_of_their_kind():
    body = encode("collect", serial=1)
    assert int.from_bytes(body[:4]) == len(body) - 4
    assert decode(body[4:]) == {"kind": "collect", "serial": 1}
    with pytest.raises(ValueError, match="serial"):
        encode("collect", number=1)
    for wrong in (
        b"[]",
        b"{}",
        b'{"kind": "shout"}',
        b'{"kind": "go", "x": 1}',
        b'{"kind": []}',
        b"\xff",
        b"null",
    ):
        with pytest.raises(ValueError):
            decode(wrong)


def test_a_channel_ends_with_its_other_end_and_refuses_giants():
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        one, other = await Channel.open(ours), await Channel.open(theirs)
        one.send("go")
        await one.close()
        one.send("go")  # nobody hears it, and nothing happens
        assert await other.receive() == {"kind": "go"}
        assert await other.receive() is None
        await other.close()

        ours, theirs = socket.socketpair()
        one = await Channel.open(ours)
        theirs.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(ValueError, match="bytes"):
            await one.receive()
        theirs.close()
        await one.close()

    asyncio.run(scenario())


def test_settings_survive_the_way_to_a_child():
    settings = Settings(models=ModelSettings(preferred_batch=(2, 4), execution="inline"))
    assert read_settings(json.loads(json.dumps(asdict(settings)))) == settings


def test_a_reserved_port_is_shared_with_those_who_ask_for_it_and_with_nobody_else():
    sockets, port = address.reserve("127.0.0.1", 0)
    try:
        with socket.create_server(("127.0.0.1", port), reuse_port=True):
            with pytest.raises(ConfigError, match="Address already in use"):
                address.reserve("127.0.0.1", port)
            with pytest.raises(OSError, match="in use"):
                socket.create_server(("127.0.0.1", port))
    finally:
        for sock in sockets:
            sock.close()


def test_an_address_of_no_machine_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"can't listen on 192.0.2.1 port 80"):
        address.reserve("192.0.2.1", 80)
    with pytest.raises(ConfigError, match=r"can't listen on nowhere.invalid"):
        address.reserve("nowhere.invalid", 80)


def suppress_errors(function) -> None:
    with suppress(OSError):
        function()


def _slow(server: Server, seconds: float) -> int:
    return server.ask("POST", "/v2/models/Slow/infer", question(("seconds", [1], [seconds])))[0]


def _wait_until(condition) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


if not hasattr(socket, "SO_REUSEPORT") or os.name != "posix":
    pytest.skip("this system can't share a port", allow_module_level=True)
