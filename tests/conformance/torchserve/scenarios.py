"""Recorded exchanges that build on each other: replayed one after the other to a server with TorchServe's ports.

As in ``exchange``, and a case may have::

    port = "inference"     # else it is the management port
    patience = true        # ask until the answer is the expected one: what an earlier case began goes on

What is different each time is the same in both: times, numbers of processes and workers, sizes of memory.
"""

import re
import time
from dataclasses import replace

from tests.conformance.exchange import Answer, Case, differences, send, to_bytes
from tests.profiles.running import INFERENCE, MANAGEMENT, Running

PATIENCE = 60.0
CHANGING = (
    (rb'"startTime": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', b'"startTime": "TIME"'),
    (rb'"memoryUsage": \d+', b'"memoryUsage": 0'),
    (rb'"pid": (-1|[1-9]\d*)', b'"pid": 0'),
    (rb'"id": "9\d{3}"', b'"id": "WORKER"'),
)


def replay(running: Running, cases: list[Case]) -> list[str]:
    """In words, how the server's answers differ from what is promised; nothing when they don't."""
    return [f"{case.name}: {difference}" for case in cases for difference in _play(running, case)]


def _play(running: Running, case: Case) -> list[str]:
    port = INFERENCE if case.request.get("port") == "inference" else MANAGEMENT
    end = time.monotonic() + (PATIENCE if case.request.get("patience") else 0.0)
    while True:
        answer = send(running.app.listeners[port].port, to_bytes(_with_keys(case, running)))
        found = differences(_steady(answer), case.expected)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.02)


def _steady(answer: Answer) -> Answer:
    return replace(answer, body=steady(answer.body))


def steady(body: bytes) -> bytes:
    """Without what is different each time."""
    for expression, placeholder in CHANGING:
        body = re.sub(expression, placeholder, body)
    return body


def _with_keys(case: Case, running: Running) -> Case:
    """``{management}`` in a header is that key."""
    headers = case.request.get("headers", {})
    if not any("{" in value for value in headers.values()):
        return case
    filled = {name: value.format(**running.keys) for name, value in headers.items()}
    return replace(case, request={**case.request, "headers": filled})
