"""Steps that hand tensors on: order, company, failures, and what can't be an ensemble."""

import asyncio

import numpy as np
import pytest

from dragoman.engine.ensemble import Ensemble, Step, StepFailed
from dragoman.errors import (
    Code,
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    ModelFailed,
    NotFound,
    Overloaded,
)
from dragoman.types import InferRequest, InferResponse, Tensor


def number(name, value):
    return Tensor(name, "FP64", np.array([float(value)]))


def request(*tensors, **fields):
    return InferRequest("whole", tensors, "3", "id-1", parameters={"a": 1}, **fields)


class Models:
    """Adds up its inputs, and tells what it was asked; a model may have an error or a gate before that."""

    def __init__(self):
        self.asked = []
        self.errors = {}
        self.gates = {}
        self.given_up = []

    async def ask(self, asked):
        self.asked.append(asked)
        try:
            if asked.model in self.gates:
                await self.gates[asked.model].wait()
        except asyncio.CancelledError:
            self.given_up.append(asked.model)
            raise
        errors = self.errors.get(asked.model, [])
        if errors:
            raise errors.pop(0)
        total = sum(tensor.data.item() for tensor in asked.inputs)
        return InferResponse(asked.model, "1", (number("sum", total), number("twice", 2 * total)))

    def names(self):
        return [asked.model for asked in self.asked]


def test_a_tensor_goes_from_step_to_step_under_each_ones_names():
    async def scenario():
        models = Models()
        steps = [
            Step("last", "c", "7", {"x": "t"}, {"twice": "result"}),  # the order they stand in doesn't count
            Step("first", "b", "", {"in": "given"}, {"sum": "t"}),
        ]
        ensemble = Ensemble(steps, ["result"], ["given"])
        response = await ensemble.run(request(number("given", 5), deadline=9.0, priority=2), models.ask)
        assert (response.model, response.version, response.id) == ("whole", "3", "id-1")
        assert [(tensor.name, tensor.data.item()) for tensor in response.outputs] == [("result", 10.0)]
        first, last = models.asked
        assert (first.model, [tensor.name for tensor in first.inputs]) == ("b", ["in"])
        assert (last.model, last.version, [tensor.name for tensor in last.inputs]) == ("c", "7", ["x"])
        assert {(each.id, each.deadline, each.priority, each.parameters["a"]) for each in models.asked} == {
            ("id-1", 9.0, 2, 1)
        }

    asyncio.run(scenario())


def test_a_step_may_take_the_request_as_it_is():
    async def scenario():
        models = Models()
        ensemble = Ensemble([Step("a", "a", outputs={"sum": "all"})], ["all"])
        response = await ensemble.run(request(number("x", 1), number("y", 2)), models.ask)
        assert response.outputs[0].data.item() == 3.0

    asyncio.run(scenario())


def test_steps_that_do_not_need_each_other_run_side_by_side():
    async def scenario():
        models = Models()
        models.gates = {"b": asyncio.Event(), "c": asyncio.Event()}
        steps = [
            Step("a", "a", inputs={"x": "x"}, outputs={"sum": "a"}),
            Step("b", "b", inputs={"x": "a"}, outputs={"sum": "b"}),
            Step("c", "c", inputs={"x": "a"}, outputs={"sum": "c"}),
            Step("d", "d", inputs={"one": "b", "other": "c"}, outputs={"sum": "d"}),
        ]
        running = asyncio.create_task(
            Ensemble(steps, ["d", "a"], ["x"]).run(request(number("x", 1)), models.ask)
        )
        while len(models.asked) < 3:
            await asyncio.sleep(0)
        assert sorted(models.names()[1:]) == ["b", "c"]
        models.gates["c"].set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(models.asked) == 3
        models.gates["b"].set()
        response = await running
        assert [tensor.data.item() for tensor in response.outputs] == [2.0, 1.0]

    asyncio.run(scenario())


def test_the_first_failure_is_told_and_the_others_are_given_up():
    async def scenario():
        models = Models()
        models.gates = {"slow": asyncio.Event()}
        models.errors = {"bad": [Overloaded("the queue is full", 7)]}
        steps = [
            Step("slow one", "slow", outputs={"sum": "s"}),
            Step("bad one", "bad", outputs={"sum": "b"}),
            Step("never", "never", inputs={"x": "s", "y": "b"}, outputs={"sum": "n"}),
        ]
        with pytest.raises(StepFailed, match="step 'bad one' failed: the queue is full") as failed:
            await Ensemble(steps, ["n"]).run(request(number("x", 1)), models.ask)
        assert failed.value.code is Code.OVERLOADED
        assert (failed.value.step, failed.value.cause.retry_after) == ("bad one", 7)
        assert models.given_up == ["slow"]
        assert "never" not in models.names()

    asyncio.run(scenario())


def test_whoever_gives_up_gives_up_every_step():
    async def scenario():
        models = Models()
        models.gates = {"a": asyncio.Event(), "b": asyncio.Event()}
        steps = [Step(name, name, outputs={"sum": name}) for name in "ab"]
        running = asyncio.create_task(Ensemble(steps, ["a"]).run(request(number("x", 1)), models.ask))
        while len(models.asked) < 2:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert sorted(models.given_up) == ["a", "b"]

    asyncio.run(scenario())


def test_a_step_may_be_tried_again():
    async def scenario():
        models = Models()
        models.errors = {"a": [ModelFailed("once"), ModelFailed("twice")]}
        ensemble = Ensemble([Step("a", "a", outputs={"sum": "s"}, attempts=3)], ["s"])
        assert (await ensemble.run(request(number("x", 1)), models.ask)).outputs[0].data.item() == 1.0
        models.errors = {"a": [ModelFailed("once"), ModelFailed("twice"), ModelFailed("thrice")]}
        with pytest.raises(StepFailed, match="thrice"):
            await ensemble.run(request(number("x", 1)), models.ask)
        models.asked.clear()
        models.errors = {"a": [NotFound("no such model")]}
        with pytest.raises(StepFailed, match="no such model"):
            await ensemble.run(request(number("x", 1)), models.ask)
        assert len(models.asked) == 1

    asyncio.run(scenario())


def test_a_step_that_takes_too_long_is_given_up():
    async def scenario():
        models = Models()
        models.gates = {"a": asyncio.Event()}
        ensemble = Ensemble([Step("a", "a", outputs={"sum": "s"}, attempts=2, timeout=0.01)], ["s"])
        with pytest.raises(StepFailed, match=r"no answer within 0\.01 s") as failed:
            await ensemble.run(request(number("x", 1)), models.ask)
        assert isinstance(failed.value.cause, DeadlineExceeded)
        assert models.given_up == ["a", "a"]

    asyncio.run(scenario())


def test_an_output_that_does_not_come_is_the_models_failure():
    async def scenario():
        ensemble = Ensemble([Step("a", "a", outputs={"other": "s"})], ["s"])
        with pytest.raises(StepFailed, match="model 'a' did not answer with output 'other'") as failed:
            await ensemble.run(request(number("x", 1)), Models().ask)
        assert failed.value.code is Code.MODEL_FAILED

    asyncio.run(scenario())


def test_a_request_without_what_a_step_needs_is_refused():
    async def scenario():
        models = Models()
        ensemble = Ensemble([Step("a", "a", inputs={"x": "x"}, outputs={"sum": "s"})], ["s"], ["x", "y"])
        with pytest.raises(InvalidInput, match="input 'x' is missing"):
            await ensemble.run(request(number("y", 1)), models.ask)
        assert models.asked == []
        await ensemble.run(request(number("x", 1)), models.ask)  # nobody needs y

    asyncio.run(scenario())


def step(name, needs, makes):
    return Step(name, name, inputs={each: each for each in needs.split()}, outputs={makes: makes})


@pytest.mark.parametrize(
    ("steps", "wanted", "message"),
    [
        ([step("a", "b", "a"), step("b", "a", "b")], "a", "steps wait for each other: a, b"),
        ([step("a", "a", "a")], "a", "steps wait for each other: a"),
        ([step("z", "", "z"), step("a", "z b", "a"), step("b", "a", "b")], "b", "wait for each other: a, b"),
        ([step("a", "x", "t"), step("b", "x", "t")], "t", "tensor 't' is made twice, by 'a' and by 'b'"),
        ([step("a", "x", "x")], "x", "tensor 'x' is made twice, by 'the request' and by 'a'"),
        ([step("a", "y", "t")], "t", "tensor 'y', which a needs, is made by nobody"),
        ([step("a", "x", "t")], "u", "tensor 'u', which the response needs, is made by nobody"),
    ],
)
def test_what_can_be_no_ensemble_is_refused(steps, wanted, message):
    with pytest.raises(ConfigError, match=message):
        Ensemble(steps, [wanted], ["x"])
