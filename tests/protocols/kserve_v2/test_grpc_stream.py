"""The order of a stream's answers, its ends and its limits, with models that answer when a test says so."""

from types import SimpleNamespace

import numpy as np
import pytest

from dragoman.errors import ModelFailed, NotFound
from dragoman.protocols.kserve_v2 import grpc_codec, grpc_stream
from dragoman.protocols.kserve_v2.grpc_stream import InferStream
from dragoman.protocols.kserve_v2.messages import ModelInferRequest, ModelStreamInferResponse
from dragoman.transport.auth import ANYBODY
from dragoman.transport.grpc.call import Status
from dragoman.types import InferResponse, Tensor

MODEL = SimpleNamespace(name="m", version="1", signature=None)


class FakeCall:
    """A call whose other side is the test."""

    caller = ANYBODY
    deadline = None

    def __init__(self, strict=False):
        self.sent = []
        self.ended = None
        self.unsent = 0
        self.on_cancel = self.on_sent = None
        self._strict = strict
        self._deliver = None

    def header(self, name):
        return "true" if self._strict and name == b"triton_grpc_error" else None

    def receive(self, deliver):
        assert self._deliver is None
        self._deliver = deliver

    def send(self, pieces):
        self.sent.append(ModelStreamInferResponse.FromString(b"".join(pieces)))

    def end(self):
        self.ended = Status.OK

    def fail(self, status, text):
        self.ended = status

    # The test's side.

    @property
    def asked(self):
        return self._deliver is not None

    def come(self, message):
        deliver, self._deliver = self._deliver, None
        deliver(message)


class FakeEntry:
    left = False

    def leave(self):
        self.left = True


class Driver:
    """A stream, and what its requests are answered."""

    def __init__(self, strict=False):
        self.call = FakeCall(strict)
        self.replies = {}
        self.entries = {}
        InferStream(self.call, self._decode, self._submit).ask()

    def request(self, id_, model="m", **parameters):
        message = ModelInferRequest(model_name=model, id=id_)
        for key, value in parameters.items():
            message.parameters[key].bool_param = value
        self.call.come(message.SerializeToString())

    def end(self):
        self.call.come(None)

    def answer(self, id_, *values, final=True):
        outputs = tuple(Tensor("y", "INT32", np.array([value], np.int32)) for value in values)
        self.replies[id_](InferResponse("m", "1", outputs, id_, final=final))

    def fail(self, id_):
        self.replies[id_](ModelFailed("it broke"))

    @property
    def seen(self):
        """Of each message sent: its id, the error or the values, and whether it was the last."""
        found = []
        for message in self.call.sent:
            answer = message.infer_response
            values = [int.from_bytes(raw, "little") for raw in answer.raw_output_contents]
            final = answer.parameters["triton_final_response"].bool_param
            found.append((answer.id, message.error_message or values, final))
        return found

    def _decode(self, parsed, deadline):
        if parsed.head.model_name != "m":
            raise NotFound("no such model")
        return MODEL, grpc_codec.decode_infer(parsed, "m", "1", None)

    def _submit(self, model, asked, reply):
        self.replies[asked.request.id] = reply
        self.entries[asked.request.id] = FakeEntry()
        return self.entries[asked.request.id]


def test_whole_answers_wait_for_those_before_them():
    driver = Driver()
    for id_ in "abc":
        driver.request(id_)
    driver.answer("c", 3)
    driver.answer("b", 2)
    assert driver.seen == []
    driver.answer("a", 1)
    assert driver.seen == [("a", [1], True), ("b", [2], True), ("c", [3], True)]


def test_parts_wait_for_nobody_and_nobody_waits_for_them():
    driver = Driver()
    for id_ in "abc":
        driver.request(id_)
    driver.answer("b", 1, final=False)
    driver.answer("a", 7)
    driver.answer("c", 9)
    driver.answer("b", 2)
    assert driver.seen == [("b", [1], False), ("a", [7], True), ("c", [9], True), ("b", [2], True)]


@pytest.mark.parametrize("wanted", [False, True])
def test_an_answer_that_ends_without_a_word_says_so_to_who_wants_to_know(wanted):
    driver = Driver()
    driver.request("d", triton_enable_empty_final_response=wanted)
    driver.answer("d", 7, final=False)
    driver.answer("d")
    assert driver.seen == [("d", [7], False), *([("d", [], True)] if wanted else [])]
    if wanted:
        assert driver.call.sent[1].infer_response.model_name == "m"
        assert driver.call.sent[1].infer_response.model_version == ""
    driver.end()
    assert driver.call.ended is Status.OK


def test_errors_have_their_place_in_the_order_too():
    driver = Driver()
    driver.request("a")
    driver.request("bad", model="n")
    driver.request("c")
    driver.fail("c")
    driver.answer("a", 1)
    assert driver.seen == [("a", [1], True), ("bad", "no such model", False), ("c", "it broke", True)]
    assert [message.infer_response.model_name for message in driver.call.sent] == ["m", "", "m"]


def test_bytes_that_are_no_request_are_an_error_like_others():
    driver = Driver()
    driver.call.come(b"\xff\xff")
    driver.request("a")
    driver.answer("a", 1)
    assert driver.seen == [("", "Unable to parse request", False), ("a", [1], True)]


def test_where_statuses_are_wanted_the_first_error_in_order_ends_the_stream():
    driver = Driver(strict=True)
    driver.request("a")
    driver.request("bad", model="n")
    driver.request("c")
    assert driver.call.ended is None
    driver.answer("a", 1)
    assert driver.seen == [("a", [1], True)]
    assert driver.call.ended is Status.NOT_FOUND
    assert driver.entries["c"].left
    driver.answer("c", 3)
    assert len(driver.seen) == 1


def test_a_part_that_fails_ends_the_stream_where_statuses_are_wanted():
    driver = Driver(strict=True)
    driver.request("a")
    driver.answer("a", 1, final=False)
    driver.fail("a")
    assert driver.seen == [("a", [1], False)]
    assert driver.call.ended is Status.INTERNAL


def test_the_stream_ends_when_the_client_has_all_its_answers():
    driver = Driver()
    driver.request("a")
    driver.request("b")
    driver.end()
    driver.answer("b", 2)
    assert driver.call.ended is None
    driver.answer("a", 1)
    assert driver.call.ended is Status.OK


def test_a_stream_without_requests_ends():
    driver = Driver()
    driver.end()
    assert driver.call.ended is Status.OK


def test_who_goes_leaves_every_queue():
    driver = Driver()
    driver.request("a")
    driver.request("b")
    driver.call.on_cancel()
    assert all(entry.left for entry in driver.entries.values())
    driver.answer("a", 1)
    assert driver.seen == []


def test_no_more_is_read_while_enough_is_open(monkeypatch):
    monkeypatch.setattr(grpc_stream, "MOST", 3)
    driver = Driver()
    for id_ in "abc":
        driver.request(id_)
    assert not driver.call.asked
    driver.answer("b", 2)  # which has to wait, and so is open still
    assert not driver.call.asked
    driver.answer("a", 1)
    assert driver.call.asked


def test_no_more_is_read_while_the_client_does_not_read():
    driver = Driver()
    driver.call.unsent = grpc_stream.UNREAD
    driver.request("a")
    driver.answer("a", 1)
    assert not driver.call.asked
    driver.call.unsent = 0
    driver.call.on_sent()
    assert driver.call.asked
