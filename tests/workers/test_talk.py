"""Questions cross the border as they are, answers come as they are taken, and nobody is asked for who has gone."""

import numpy as np
import pytest

from dragoman.errors import Code, InvalidInput, NotFound, NotReady
from dragoman.types import InferRequest, InferResponse, Tensor
from dragoman.workers import questions, talk
from dragoman.workers.frames import Data, to_json
from dragoman.workers.messages import decode_answer, decode_heard, encode_requests
from dragoman.workers.questions import Conversation, Questions
from dragoman.workers.shared import Damaged
from dragoman.workers.talk import Abandoned, Forget, Question, Ready, Reply, Took

X = Tensor("x", "FP32", np.array([[1, 2]], np.float32))
TEXT = Tensor("t", "BYTES", np.array([b"a", b"\xff"], object))
REQUEST = InferRequest("other", (X, TEXT), "2", "id", ("y",), {"a": 1}, timeout=5)


def written(frame):
    return b"".join(frame.pieces)


def response(*tensors, final=True):
    return InferResponse("other", "2", tensors, "id", {"b": "c"}, final)


def test_a_question_comes_out_as_it_went_in():
    asked = decode_answer(written(talk.encode_question(7, REQUEST)))
    assert isinstance(asked, Question)
    assert (asked.number, asked.request.model, asked.request.version) == (7, "other", "2")
    assert (asked.request.id, asked.request.outputs, asked.request.parameters) == ("id", ("y",), {"a": 1})
    assert asked.request.timeout == 5
    for tensor, original in zip(asked.request.inputs, REQUEST.inputs, strict=True):
        assert (tensor.name, tensor.datatype) == (original.name, original.datatype)
        np.testing.assert_array_equal(tensor.data, original.data)


def test_replies_come_out_as_they_went_in():
    for final in (True, False):
        heard = decode_heard(written(talk.encode_reply(3, response(X, final=final))))
        assert isinstance(heard, Reply)
        assert (heard.number, heard.outcome.final, heard.outcome.parameters) == (3, final, {"b": "c"})
        np.testing.assert_array_equal(heard.outcome.outputs[0].data, X.data)
    heard = decode_heard(written(talk.encode_reply(4, NotFound("nobody"))))
    assert (heard.outcome.code, heard.outcome.message) == (Code.NOT_FOUND, "nobody")


def test_single_words_come_out_as_they_went_in():
    assert decode_answer(written(talk.encode_forget(5))) == Forget(5)
    assert decode_answer(written(talk.encode_took(9))) == Took(9)
    assert decode_answer(written(talk.encode_ready(False))) == Ready(False)
    assert decode_heard(written(talk.encode_abandoned(2, 1))) == Abandoned(2, 1)
    number, (request,) = decode_heard(written(encode_requests(8, [REQUEST])))
    assert (number, request.timeout, request.priority) == (8, 5, 0)


@pytest.mark.parametrize(
    "document",
    [
        ["ask", 1],
        ["ask", -1, "m", "", "", None, {}, 0, []],
        ["ask", 1, 5, "", "", None, {}, 0, []],
        ["ask", 1, "m", "", "", [5], {}, 0, []],
        ["ask", 1, "m", "", "", None, [], 0, []],
        ["ask", 1, "m", "", "", None, {}, -1, []],
        ["ask", 1, "m", "", "", None, {}, 0, [["x", "FP32", [2], 0, 8, {}]]],
        ["forget", "1"],
        ["took", -5],
        ["ready", True],
        ["sing", 1],
        ["forget"],
    ],
)
def test_what_no_honest_worker_writes_is_refused(document):
    with pytest.raises(Damaged):
        decode_answer(written(Data().frame(to_json(document))))


class Asked:
    """Whoever is asked: keeps what came, and answers when it is told to."""

    def __init__(self):
        self.replies = []
        self.cancelled = 0
        self.answered = False

    def __call__(self, request, reply):
        if request.model == "nobody":
            raise NotFound("nobody")
        self.replies.append(reply)
        return self

    def cancel(self):
        self.cancelled += 1

    def leave(self):
        self.cancelled += 1


@pytest.fixture
def bench():
    asked, sent = Asked(), []
    heard = Questions()
    heard.connect(asked)
    return Conversation(heard, sent.append), asked, sent


def outcomes(sent):
    return [(each.number, each.outcome) for each in map(decode_heard, map(written, sent))]


def test_an_answer_goes_to_who_has_asked(bench):
    conversation, asked, sent = bench
    conversation.heard(Question(1, REQUEST))
    conversation.heard(Question(2, REQUEST))
    asked.replies[1](response(X))
    asked.replies[0](response(final=False))
    asked.replies[0](InvalidInput("no more"))
    asked.replies[0](response(X))
    found = outcomes(sent)
    assert [number for number, _ in found] == [2, 1, 1]
    assert found[2][1].message == "no more"


def test_what_makes_a_question_impossible_is_its_answer(bench):
    conversation, _, sent = bench
    conversation.heard(Question(1, InferRequest("nobody", ())))
    assert outcomes(sent)[0][1].message == "nobody"
    lonely = Conversation(Questions(), sent.append)
    lonely.heard(Question(1, REQUEST))
    assert isinstance(outcomes(sent)[1][1], NotReady)


def test_a_question_that_is_forgotten_is_taken_back(bench):
    conversation, asked, sent = bench
    conversation.heard(Question(1, REQUEST))
    conversation.heard(Forget(1))
    conversation.heard(Forget(1))
    asked.replies[0](response(X))
    assert (asked.cancelled, sent) == (1, [])


def test_all_questions_of_a_worker_that_has_ended_are_taken_back(bench):
    conversation, asked, sent = bench
    for number in range(3):
        conversation.heard(Question(number, REQUEST))
    conversation.close()
    asked.replies[0](response(X))
    assert (asked.cancelled, sent) == (3, [])


def test_no_more_is_on_its_way_than_the_worker_has_room_for(bench, monkeypatch):
    conversation, asked, sent = bench
    size = talk.encode_reply(1, response(X, final=False)).size
    monkeypatch.setattr(questions, "UNTAKEN", 2 * size)
    conversation.heard(Question(1, REQUEST))
    for _ in range(5):
        asked.replies[0](response(X, final=False))
    assert len(sent) == 2
    conversation.heard(Took(2 * size))
    assert len(sent) == 4
    with pytest.raises(Damaged):
        conversation.heard(Took(3 * size))


def test_who_does_not_take_its_answers_loses_them(bench, monkeypatch):
    conversation, asked, sent = bench
    monkeypatch.setattr(questions, "UNTAKEN", 0)
    monkeypatch.setattr(questions, "WAITING", 1)
    conversation.heard(Question(1, REQUEST))
    for _ in range(5):
        asked.replies[0](response(X, final=False))
    assert asked.cancelled == 1
    for _ in range(2):
        conversation.heard(Took(sent[-1].size))
    assert [outcome.message for _, outcome in outcomes(sent)[2:]] == [
        "more than 1 bytes of answers wait for the model that has asked"
    ]


def test_a_worker_has_a_limited_number_of_questions_open(bench, monkeypatch):
    conversation, asked, sent = bench
    monkeypatch.setattr(questions, "MOST", 2)
    for number in range(3):
        conversation.heard(Question(number, REQUEST))
    assert (len(asked.replies), len(sent)) == (2, 1)
    assert outcomes(sent)[0][1].code is Code.OVERLOADED
    with pytest.raises(Damaged):
        conversation.heard(Question(1, REQUEST))
