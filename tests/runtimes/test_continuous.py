"""Continuous batching, step by step: who joins, who runs on, who is done, and whom a failure takes with it."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from dragoman.errors import DragomanError

from .torchserve_models import load, post, raw, unpack

pytestmark = pytest.mark.usefixtures("clean_modules")


@pytest.fixture
def model(tmp_path: Path) -> Any:
    numbers = itertools.count()

    def model(code: str, **options: Any) -> Any:
        return load(unpack(tmp_path / f"m{next(numbers)}", handler=code), **options)

    return model


#: Says which step it is of how many requests; ends after as many as the body says, or as its one word wants.
STEPS = """
    class Steps:
        def initialize(self, context):
            context.cache = {}

        def handle(self, data, context):
            result = []
            for place, row in enumerate(data):
                known = context.get_request_id(place)
                if known not in context.cache:
                    context.cache[known] = {"step": 0, "wanted": bytes(row["body"]).decode()}
                else:
                    assert row == {}, "what was sent is given once"
                    assert context.get_request_header(place, "mine") == known
                context.cache[known]["step"] += 1
                result.append(f"{context.cache[known]['step']}/{len(data)}")
                context.set_response_header(place, "who", known)
            self.check(context)
            return result

        def check(self, context):
            asked = [context.cache[known] for known in context.request_ids.values()]
            if any(each["wanted"] == "raise" for each in asked):
                raise ValueError("as asked")
            context.stopping_criteria = [self.criterion(each) for each in asked]

        def criterion(self, each):
            def stop(item):
                if each["wanted"] == "stop badly":
                    raise ValueError("as asked")
                if each["wanted"] == "whole":
                    return None
                return each["step"] >= int(each["wanted"])
            return stop
"""


class Stepper:
    """A running batch, and everything that came of it."""

    def __init__(self, model: Any, code: str = STEPS) -> None:
        self.parts: list[tuple[int, bytes]] = []
        runtime = model(code, model_yaml_config={"continuousBatching": True}, each_metric=True)
        assert runtime.continuous
        self.batch = runtime.open_batch(lambda key, part: self.parts.append((key, raw(part))))

    def join(self, key: int, wanted: str, **headers: str) -> None:
        self.batch.join(key, post(wanted, id=f"r{key}", mine=f"r{key}", **headers))

    def step(self) -> dict[int, Any]:
        self.parts.clear()
        return {
            key: outcome if isinstance(outcome, DragomanError) else raw(outcome)
            for key, outcome in self.batch.step()
        }


def test_requests_join_a_running_batch_and_leave_it_when_they_are_done(model: Any) -> None:
    steps = Stepper(model)
    steps.join(1, "3")
    assert (steps.step(), steps.parts) == ({}, [(1, b"1/1")])
    steps.join(2, "1")
    steps.join(3, "2")
    assert (steps.step(), steps.parts) == ({2: b"1/3"}, [(1, b"2/3"), (3, b"1/3")])
    assert len(steps.batch) == 2
    assert steps.step() == {1: b"3/2", 3: b"2/2"}
    assert len(steps.batch) == 0


def test_an_answer_may_be_whole_in_a_running_batch(model: Any) -> None:
    steps = Stepper(model)
    steps.join(1, "2")
    steps.join(2, "whole")
    assert (steps.step(), steps.parts) == ({2: b"1/2"}, [(1, b"1/2")])


def test_who_leaves_is_not_asked_about_any_more(model: Any) -> None:
    steps = Stepper(model)
    steps.join(1, "9")
    steps.join(2, "2")
    steps.step()
    steps.batch.leave(1)
    assert (steps.step(), steps.parts) == ({2: b"2/1"}, [])


def test_a_step_that_fails_fails_all_that_were_in_it_and_no_other(model: Any) -> None:
    steps = Stepper(model)
    steps.join(1, "9")
    steps.step()
    steps.join(2, "raise")
    failed = steps.step()
    assert {key: str(error) for key, error in failed.items()} == {
        1: "Prediction failed",
        2: "Prediction failed",
    }
    steps.join(3, "1")
    assert steps.step() == {3: b"1/1"}


def test_a_criterion_that_fails_fails_its_own_request(model: Any) -> None:
    steps = Stepper(model)
    steps.join(1, "1")
    steps.join(2, "stop badly")
    done = steps.step()
    assert done[1] == b"1/2"
    assert str(done[2]) == "Prediction failed"


def test_without_criteria_every_answer_is_whole(model: Any) -> None:
    steps = Stepper(model, "def handle(data, context): return [len(data or ())] * len(data or ())")
    steps.join(1, "x")
    steps.join(2, "x")
    assert steps.step() == {1: b"2", 2: b"2"}


def test_explanations_do_not_join(model: Any) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            return [f"{context.get_request_header(0, 'explain')} {len(data)}"] * len(data)
    """
    steps = Stepper(model, code)
    steps.join(1, "x")
    steps.join(2, "x", explain="True")
    steps.join(3, "x", explain="False")
    assert steps.step() == {1: b"False 2", 2: b"True 1", 3: b"False 2"}


def test_a_handler_may_hand_out_parts_in_the_midst_of_a_step(model: Any) -> None:
    code = """
        from ts.handler_utils.utils import send_intermediate_predict_response

        def handle(data, context):
            if data is None:
                return None
            send_intermediate_predict_response(["early"] * len(data), context.request_ids, "part", 200, context)
            context.stopping_criteria = [lambda item: True] * len(data)
            return ["late"] * len(data)
    """
    steps = Stepper(model, code)
    steps.join(1, "x")
    steps.join(2, "x")
    assert (steps.step(), steps.parts) == ({1: b"late", 2: b"late"}, [(1, b"early"), (2, b"early")])


def test_where_nobody_can_join_a_continuous_model_is_asked_to_the_end(model: Any) -> None:
    parts: list[tuple[int, bytes]] = []
    outcomes = model(STEPS, model_yaml_config={"continuousBatching": True}).execute_requests(
        [post("3", id="a", mine="a"), post("1", id="b", mine="b")],
        lambda place, response: parts.append((place, raw(response))),
    )
    assert parts == [(0, b"1/2"), (0, b"2/1")]
    assert [raw(each) for each in outcomes] == [b"3/1", b"1/2"]
