"""A model answers something other than it promised: its batch fails, by name, and nobody else does."""

import json
import re

import numpy as np
import pytest

from dragoman.errors import Code
from tests.workers.faulty import Front, memory_of, question, served, until
from tests.workers.load import Load

BITS = [0x7FF8 << 48, 0x7FF0 << 48 | 1, 0xFFF8 << 48 | 0xDEAD, 0x7FF4 << 48 | 0xBEEF, 0x7FF0 << 48]
WRONG = {
    "wrong_count": "the model returned value, more, expected value",
    "wrong_dtype": "output 'value' should be FP64, the model returned INT32",
    "wrong_shape": "output 'value' should be [-1], the model returned [2, 2]",
    "wrong_kind": "output 'value' should be FP64, the model returned object",
}


@pytest.mark.parametrize(("command", "words"), WRONG.items())
def test_a_broken_promise_is_an_invalid_output(one, command, words):
    """R8"""
    pid = one.value("pid")
    answer = one.ask(command)
    assert answer.status == 500
    assert answer.json()["error"].startswith(f"the model's output is invalid: {words}")
    assert one.value("pid") == pid
    assert not one.exits
    assert (
        f'code="{Code.MODEL_OUTPUT_INVALID.value}",dialect="v2"' in one.client.get("/metrics").body.decode()
    )


def test_it_is_the_same_in_the_v1_dialect(one):
    """R8"""
    answer = one.client.post(
        "/v1/models/Faulty:predict", {"inputs": {"command": ["wrong_dtype"], "argument": [0.0]}}
    )
    assert answer.status == 500
    assert "the model's output is invalid" in answer.json()["error"]


@pytest.mark.parametrize("command", ["bad_count", "bad_dtype", "bad_shape", "bad_rows"])
def test_only_its_own_batch_pays_for_a_wrong_answer(front, command):
    """R8, under load: whoever shared the batch is answered, too, for a joined batch is tried again one by one."""
    with Load(front.url) as load:
        until(lambda: len(load.answers) >= 20)
        numbers = load.ask(command, count=3)
        until(lambda: all(map(load.answer, numbers)))
        done = len(load.answers)
        until(lambda: len(load.answers) >= done + 20)
    failed = [answer for answer in load.ledger() if answer.status != 200]
    assert [answer.number for answer in failed] == numbers
    for answer in failed:
        assert answer.status == 500
        assert json.loads(answer.body)["error"].startswith("the model's output is invalid: ")
    assert not front.exits


def test_an_answer_of_three_gigabytes_is_refused_where_it_is_made(tmp_path):
    """R8"""
    with Front(tmp_path, "Faulty") as front:
        front.value("echo")
        before = memory_of(front.pid)
        status, body = front.ask("POST", "/v2/models/Faulty/infer", question("huge", 3e9))
        assert status == 500
        assert (
            "is invalid: the answer can't be sent: its answer has more than 2147483648 bytes"
            in json.loads(body)["error"]
        )
        assert memory_of(front.pid) - before <= 8 << 20
        assert front.value("echo", 5.0) == 5.0
        assert not front.exits


def test_the_operator_says_how_big_an_answer_may_be(tmp_path):
    """R8"""
    with served(tmp_path, max_output=1024) as server:
        assert server.ask("huge", 800.0).status == 200
        answer = server.ask("huge", 1024.0)
        assert answer.status == 500
        assert re.search(r"is invalid: it has \d+ bytes, the most are 1024$", answer.json()["error"])


def test_nan_is_written_as_each_dialect_does(one):
    """R8: v2 has the bare words that Triton writes, v1 the null of KServe."""
    text = one.ask("nan").body.decode()
    assert '"data":[NaN,NaN,NaN,NaN,Infinity]' in text
    answer = one.client.post("/v1/models/Faulty:predict", {"inputs": {"command": ["nan"], "argument": [0.0]}})
    assert json.loads(answer.body)["predictions"] == [None] * 5


def test_nan_crosses_bit_by_bit(one):
    """R8: as binary data, a signalling NaN keeps its signal and its message."""
    inputs = {"command": np.array([b"nan"], object), "argument": np.zeros(1)}
    assert one.client.infer("Faulty", inputs)["value"].view(np.uint64).tolist() == BITS
