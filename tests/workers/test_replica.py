"""A replica without a cluster around it: what it loads, answers, hands out and says of itself."""

import asyncio
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest

from dragoman import errors
from dragoman.config import ModelSettings
from dragoman.errors import InvalidInput, ModelFailed, NotReady
from dragoman.repository.model_archive import open_model_archive, source_of
from dragoman.types import InferRequest, Tensor
from dragoman.workers.replica import Answer, Order, Part, Replica
from tests.profiles.archives import write_archive
from tests.ray.models import FUSSY, HANDLER

KSERVE = """
import asyncio

from kserve import Model


class Slow(Model):
    async def predict(self, payload, headers=None):
        await asyncio.sleep(0)
        return payload
"""


def order(path: Path, runtime: str = "python", **more) -> Order:
    artifact = {"name": "m", "version": "1", "path": path, "entry": "", "options": {}, "trusted": True}
    return Order(runtime, artifact | more)


def asking(*values: float) -> list[InferRequest]:
    return [InferRequest("m", (Tensor("x", "FP32", np.array([value], np.float32)),)) for value in values]


@pytest.fixture
def fussy(tmp_path):
    (tmp_path / "model.py").write_text(FUSSY)
    replica = Replica(order(tmp_path / "model.py"))
    yield replica
    replica.__del__()


def test_it_says_what_it_has_loaded(fussy):
    hello = asyncio.run(fussy.describe())
    assert (hello["takes_requests"], hello["concurrent"]) == (False, False)
    asyncio.run(fussy.check_health())


def test_it_answers_and_its_errors_keep_their_kind_and_its_log_comes_along(fussy):
    answer = asyncio.run(fussy.run(asking(4)))
    assert answer.outcomes[0].outputs[0].data.tolist() == [0.25]
    answer = asyncio.run(fussy.run(asking(-1)))
    assert isinstance(answer.outcomes[0], InvalidInput)
    answer = asyncio.run(fussy.run(asking(0)))
    assert isinstance(answer.outcomes[0], ModelFailed)
    assert answer.outcomes[0].message.endswith(answer.records[-1].id)
    assert "ZeroDivisionError: by nothing" in answer.records[-1].text


def test_what_can_not_be_loaded_is_told_and_then_it_is_not_healthy(tmp_path):
    replica = Replica(order(tmp_path / "none.py"))
    asyncio.run(replica.check_health())  # until somebody knows why, it stays
    assert "not on the machine" in asyncio.run(replica.describe())["failure"]["reason"]
    with pytest.raises(RuntimeError, match="could not be loaded"):
        asyncio.run(replica.check_health())
    (outcome,) = asyncio.run(replica.run(asking(1))).outcomes
    assert isinstance(outcome, NotReady)


def test_parts_come_before_the_answer(tmp_path):
    (tmp_path / "cache").mkdir()
    archive = open_model_archive(write_archive(tmp_path, "words", HANDLER), tmp_path / "cache")
    source = source_of(archive, ModelSettings())
    replica = Replica(order(source.path, "torchserve", options=dict(source.options)))
    assert asyncio.run(replica.describe())["takes_requests"]
    body = Tensor("body", "BYTES", np.array([b"to be or"], object))

    async def collect():
        return [
            each
            async for each in replica.stream([InferRequest("m", (body,), id="1", parameters={"headers": {}})])
        ]

    *parts, answer = asyncio.run(collect())
    assert [bytes(part.response.outputs[0].data[0]) for part in parts if isinstance(part, Part)] == [
        b"to",
        b"be",
    ]
    assert isinstance(answer, Answer)
    assert bytes(answer.outcomes[0].outputs[0].data[0]) == b"or"
    replica.__del__()


def test_a_model_of_coroutines_runs_on_an_event_loop_of_its_own(tmp_path):
    (tmp_path / "model.py").write_text(KSERVE.replace("from kserve", "from dragoman.compat.kserve"))
    replica = Replica(order(tmp_path / "model.py", "kserve"))
    assert asyncio.run(replica.describe())["concurrent"]
    document = Tensor(
        "body", "BYTES", np.array([b'{"instances": [1]}'], object), {"content_type": "application/json"}
    )

    async def ask():
        return await asyncio.gather(*(replica.run([InferRequest("m", (document,))]) for _ in range(3)))

    for answer in asyncio.run(ask()):
        assert bytes(answer.outcomes[0].outputs[0].data.item()) == b'{"instances":[1]}'
    replica.__del__()


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, errors.DragomanError)]
)
def test_every_kind_of_error_is_the_same_elsewhere(kind):
    needed = {"location": "a", "reasons": {"1": "b"}, "name": "m"}
    names = inspect.signature(kind).parameters
    error = kind(**{name: needed.get(name, "why") for name in names if name in needed or name == "message"})
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.args, vars(again)) == (
        kind,
        error.message,
        error.args,
        vars(error),
    )
