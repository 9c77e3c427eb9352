"""Runs the real command in a process of its own, as people do."""

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

DRAGOMAN = (sys.executable, "-m", "dragoman")
#: Seconds that anything may take on a machine under load.
LIMIT = 60

MODELS = """
import os
import time

import numpy as np


class Sum:
    inputs = {"a": ("FP32", [-1, 2]), "b": ("FP32", [-1, 2])}
    outputs = {"sum": ("FP32", [-1, 2])}
    batched = True
    fast = True

    def predict(self, a, b):
        return {"sum": a + b}


class Double:
    inputs = {"x": ("FP32", [-1, 3])}
    outputs = {"y": ("FP32", [-1, 3]), "total": ("FP32", [-1])}
    batched = True
    max_batch = 4

    def predict(self, x):
        return {"y": 2 * x, "total": x.sum(axis=1)}


class Shout:
    inputs = {"text": ("BYTES", [-1])}
    outputs = {"text": ("BYTES", [-1])}

    def predict(self, text):
        return {"text": np.array([each.upper() for each in text], object)}


class Slow:
    inputs = {"seconds": ("FP32", [1])}
    outputs = {"seconds": ("FP32", [1])}

    def predict(self, seconds):
        time.sleep(float(seconds[0]))
        return {"seconds": seconds}


class Pid:
    fast = True  # in the server itself, whose pid it tells
    inputs = {"x": ("FP32", [1])}
    outputs = {"pid": ("INT64", [1])}

    def predict(self, x):
        return {"pid": np.array([os.getpid()])}


class Broken:
    def load(self):
        raise ValueError("no weights")

    def predict(self, x):
        return x
"""


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change the outcome."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DRAGOMAN_", "NO_COLOR", "FORCE_"))
    }
    return {**kept, "COLUMNS": "200", **more}


def dragoman(
    *arguments: str | Path, cwd: Path | None = None, given: bytes | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*DRAGOMAN, *map(str, arguments)],
        cwd=cwd,
        env=environment(**environ),
        input=given or b"",
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Server:
    """``dragoman serve`` on a free port, ready to be asked."""

    command: tuple[str, ...] = (*DRAGOMAN, "serve")
    free: tuple[str, ...] = ("--port", "0")

    def __init__(self, folder: Path, *arguments: str | Path, wait: bool = True, **environ: str) -> None:
        self._log = folder / f"log-{time.monotonic_ns()}"
        self._printed = self._log.with_name(f"{self._log.name}-printed")
        with self._log.open("wb") as log, self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [*self.command, *map(str, arguments), *self.free],
                cwd=folder,
                env=environment(**environ),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=log,
            )
        self.url = ""
        if wait:
            try:
                self.url = self.wait_for("ready", "some models failed, not ready")["url"]
            except BaseException:
                self.kill()
                raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def printed(self) -> str:
        """What it has written to standard output."""
        return self._printed.read_text()

    @property
    def events(self) -> list[dict]:
        """Its log lines so far."""
        return [
            json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")
        ]

    def wait_for(self, *names: str, count: int = 1) -> dict:
        """The ``count``-th log line of one of these events."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            found = [event for event in self.events if event["event"] in names]
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None and not found:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.log}")
            time.sleep(0.02)
        raise AssertionError(f"no {names} in:\n{self.log}")

    def connect(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        return HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT)

    def ask(self, method: str, path: str, document: object = None, key: str = "") -> tuple[int, bytes]:
        """One request on a connection of its own."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection = self.connect()
        try:
            connection.request(method, path, None if document is None else json.dumps(document), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(LIMIT)


def question(*inputs: tuple[str, list[int], list[float]]) -> dict:
    """The body of a v2 request in FP32."""
    return {"inputs": [{"name": n, "datatype": "FP32", "shape": s, "data": d} for n, s, d in inputs]}


SUM = question(("a", [1, 2], [1, 2]), ("b", [1, 2], [3, 4]))
