"""A handler that answers several requests side by side: asyncCommunication in its archive's configuration."""

import threading

import pytest

from dragoman.testing import TestClient
from tests.profiles.archives import write_archive

#: As the documentation of asynchronous workers has it: ``handle`` is a coroutine of a class.
HANDLER = """
import asyncio
import os

from ts.handler_utils.utils import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class Meeting(BaseHandler):
    # Nobody is answered before ``guests`` requests are there at once.

    def initialize(self, context):
        self.arrived = []
        self.everybody = None
        self.initialized = True

    async def handle(self, data, context):
        if self.everybody is None:
            self.everybody = asyncio.Event()
        asked = data[0].get("body")
        if asked["name"] == "crash":
            os._exit(3)
        if asked["name"] == "fail":
            raise ValueError("as asked")
        self.arrived.append(asked["name"])
        if len(self.arrived) >= asked["guests"]:
            self.everybody.set()
        if asked.get("stream"):
            for number in range(3):
                send_intermediate_predict_response(
                    [str(number)], context.request_ids, "part", 200, context
                )
                await asyncio.sleep(0)
        await self.everybody.wait()
        context.set_response_header(0, "who", asked["name"])
        return [f"{asked['name']} of {len(self.arrived)}"]
"""
YAML = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 1\nasyncCommunication: true\n"


@pytest.fixture
def client(tmp_path):
    pytest.importorskip("yaml")
    archive = write_archive(tmp_path, "meeting", HANDLER, yaml=YAML)
    with TestClient(str(archive)) as running:
        yield running


def ask(client, answers, name, **more):
    answers[name] = client.post("/predictions/meeting", {"name": name, **more})


def together(client, *guests):
    """The answers to requests that wait for each other in the handler."""
    answers = {}
    threads = [
        threading.Thread(target=ask, args=(client, answers, guest), kwargs={"guests": len(guests)})
        for guest in guests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_requests_run_side_by_side_in_one_worker_and_each_gets_its_own_answer(client):
    guests = [f"guest{number}" for number in range(8)]
    answers = together(client, *guests)
    assert {name: answer.body for name, answer in answers.items()} == {
        name: f"{name} of 8".encode() for name in guests
    }
    assert {name: answer.headers["who"] for name, answer in answers.items()} == {
        name: name for name in guests
    }


def test_a_failure_is_its_own_requests_only(client):
    assert client.post("/predictions/meeting", {"name": "fail", "guests": 1}).status == 503
    assert client.post("/predictions/meeting", {"name": "a", "guests": 1}).body == b"a of 1"


def test_parts_are_streamed(client):
    answer = client.post("/predictions/meeting", {"name": "a", "guests": 1, "stream": True})
    assert answer.body == b"012a of 1"


def test_a_death_fails_everything_that_ran_and_the_next_worker_answers(client):
    answers = {}
    waiting = threading.Thread(target=ask, args=(client, answers, "waits"), kwargs={"guests": 9})
    waiting.start()
    crashed = client.post("/predictions/meeting", {"name": "crash", "guests": 9})
    waiting.join(60)
    assert crashed.status >= 500
    assert answers["waits"].status in (200, crashed.status)
    assert client.post("/predictions/meeting", {"name": "a", "guests": 1}).status == 200
