"""An open loop of requests: they come when they come, however the server is. Each has exactly one outcome, or else."""

import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came of one request. ``status`` 0 is a connection that ended without an answer."""

    number: int
    due: float
    done: float
    status: int
    headers: dict
    body: bytes

    @property
    def seconds(self):
        return self.done - self.due


class Load:
    """Asks the steady model at a fixed rate while the ``with`` block runs; then waits for every answer."""

    def __init__(self, url, rate=40.0, command="work"):
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._rate = rate
        self._command = command
        self._numbers = itertools.count(1)
        self._answers = defaultdict(list)
        self._sent = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exception):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def ask(self, command="work", argument=0.0, count=1):
        """Some more, at once. Gives their numbers."""

        async def send():
            return [self._send(command, argument) for _ in range(count)]

        return asyncio.run_coroutine_threadsafe(send(), self._loop).result()

    def answer(self, number):
        """The answer to this request, or None if there is none yet."""
        return next(iter(self._answers[number]), None)

    @property
    def answers(self):
        """Those that have come, by number."""
        return {number: found[0] for number, found in dict(self._answers).items() if found}

    def ledger(self, believe=True):
        """Every request's one answer, in order; the load must have ended. Good ones have the right value."""
        assert not self._thread.is_alive()
        assert sorted(self._answers) == sorted(self._sent)
        assert {len(found) for found in self._answers.values()} == {1}
        answers = [found[0] for _, found in sorted(self._answers.items())]
        for answer in answers:
            if answer.status == 200 and believe:
                assert json.loads(answer.body)["outputs"][0]["data"] == [answer.number * 2.0]
        return answers

    async def _main(self):
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks = set()
        self._ready.set()
        start = time.monotonic()
        for turn in itertools.count():
            try:
                await asyncio.wait_for(self._stop.wait(), start + turn / self._rate - time.monotonic())
                break
            except TimeoutError:
                self._send(self._command, 0.0)
        await asyncio.gather(*self._tasks)

    def _send(self, command, argument):
        number = next(self._numbers)
        self._sent.append(number)
        task = self._loop.create_task(self._ask(number, command, argument, time.monotonic()))
        self._tasks.add(task)
        return number

    async def _ask(self, number, command, argument, due):
        inputs = [
            {"name": "command", "shape": [1, 1], "datatype": "BYTES", "data": [command]},
            {"name": "argument", "shape": [1, 1], "datatype": "FP64", "data": [argument]},
            {"name": "number", "shape": [1, 1], "datatype": "INT64", "data": [number]},
        ]
        body = json.dumps({"id": str(number), "inputs": inputs}).encode()
        head = f"POST /v2/models/Steady/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            data = await reader.read()
            writer.close()
        except OSError:
            data = b""
        self._answers[number].append(_parse(number, due, time.monotonic(), data))


def _parse(number, due, done, data):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1]) if first else 0
    assert not first or int(headers["content-length"]) == len(body)  # one answer, and nothing after it
    return Answer(number, due, done, status, headers, body)


def p99(answers):
    """The time that all but one in a hundred took less than."""
    seconds = sorted(answer.seconds for answer in answers)
    return seconds[int(len(seconds) * 0.99)]
