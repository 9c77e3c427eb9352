"""Servers that are ended in every way, and what they serve when they are started again."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection

import pytest

from tests.protocols.management.test_http import put_model

#: Kills in `make test`; DRAGOMAN_KILLS=200 is the long form.
LIMIT = 60


class Server:
    """``dragoman serve`` with a store and a state, in a process of its own."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        command = [sys.executable, "-m", "dragoman", "serve", "--port", "0", "--log-format", "json"]
        command += ["--management-store", "store", "--management-state", "state.db"]
        self.log = (self.folder / "log").open("w+")
        self.process = subprocess.Popen(command, cwd=self.folder, stderr=self.log, stdout=subprocess.DEVNULL)
        self.port = int(self._wait(r'"event": ?"ready".*?"url": ?"http://[^"]*:(\d+)"'))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def _wait(self, pattern):
        end = time.monotonic() + LIMIT
        while True:
            text = (self.folder / "log").read_text()
            if match := re.search(pattern, text):
                return match[1]
            assert self.process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.02)

    def ask(self, method, path, document=None):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request(method, path, None if document is None else json.dumps(document))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def facts(self):
        """What is served: for each model its default, shares and versions with their instances."""
        _, document = self.ask("GET", "/management/models")
        return {
            model["name"]: (
                model["default"],
                model["traffic"]["shares"],
                {
                    v["version"]: (v["state"], v["instances"] and v["instances"]["min"])
                    for v in model["versions"]
                },
            )
            for model in document["models"]
        }


@pytest.fixture
def folder(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    put_model(store, "adder", ["1", "2"])
    put_model(store, "other", ["1"])
    return tmp_path


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGKILL"])
def test_a_restart_serves_what_was_served(folder, ending):
    with Server(folder) as server:
        assert server.facts() == {}
        for source in ("adder", "other"):
            assert server.ask("POST", "/management/models", {"source": source})[0] == 200
        for method, path, document in (
            ("PUT", "adder/default", {"version": "1"}),
            ("PUT", "adder/traffic", {"shares": {"1": 40, "2": 60}}),
            ("PUT", "adder/versions/2/instances", {"min": 2}),
            ("DELETE", "other", None),
        ):
            assert server.ask(method, f"/management/models/{path}", document)[0] == 200, path
        before = server.facts()
        server.process.send_signal(getattr(signal, ending))
        server.process.wait()
    with Server(folder) as server:
        assert (
            server.facts()
            == before
            == {"adder": ("1", {"1": 40, "2": 60}, {"1": ("READY", 1), "2": ("READY", 2)})}
        )
        assert server.ask("POST", "/management/models/adder/rollback")[1]["default"] == "2"


def test_a_kill_at_any_moment_of_a_change_leaves_before_or_after(folder):
    """R9, R25: the store's own test kills a writer at hundreds of points; here whole servers are killed."""
    chance = random.Random(20261124)
    with Server(folder) as server:
        assert server.ask("POST", "/management/models", {"source": "adder"})[0] == 200
        default = "2"
    for _ in range(6):
        with Server(folder) as server:
            assert server.facts()["adder"][0] == default
            wanted = "1" if default == "2" else "2"
            asked = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "import sys, http.client as h\n"
                    "c = h.HTTPConnection('127.0.0.1', int(sys.argv[1]))\n"
                    "c.request('PUT', '/management/models/adder/default', sys.argv[2])\n"
                    "print(c.getresponse().status)",
                    str(server.port),
                    json.dumps({"version": wanted}),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(chance.uniform(0.0, 0.15))  # when it is killed decides nothing but which case this is
            server.process.kill()
            told = asked.communicate()[0].strip() == b"200"
        with Server(folder) as server:
            found = server.facts()["adder"]
        assert found[0] in (default, wanted)
        assert found[0] == wanted or not told, "a change that was acknowledged is lost"
        assert found[2] == {"1": ("READY", 1), "2": ("READY", 1)}
        default = found[0]


def test_a_model_whose_files_are_gone_is_told_and_the_rest_serves(folder):
    with Server(folder) as server:
        for source in ("adder", "other"):
            assert server.ask("POST", "/management/models", {"source": source})[0] == 200
    (folder / "store" / "other" / "1" / "model.py").unlink()
    with Server(folder) as server:
        assert list(server.facts()) == ["adder"]
        assert "can't be found again" in (folder / "log").read_text()


def test_a_state_that_is_damaged_stops_the_start_with_a_sentence(folder):
    (folder / "state.db").write_bytes(b"no database " * 100)
    command = [sys.executable, "-m", "dragoman", "serve", "--management-store", "store"]
    command += ["--management-state", "state.db", "--port", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 78
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
