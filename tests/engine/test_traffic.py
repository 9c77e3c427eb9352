"""Shares, pins and shadows: who answers, exactly how often, and what is told of those who don't."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.config import ModelSettings
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan
from dragoman.engine.shadow import measure
from dragoman.engine.traffic import Rotation, Traffic
from dragoman.errors import InvalidInput, ModelFailed, NotFound
from dragoman.scheduling.scheduler import LoopClock
from dragoman.types import InferRequest, InferResponse, Tensor
from dragoman.workers import pool
from tests.engine.test_lifecycle import Gate


class Adds(Gate):
    """Answers with its input and a little more."""

    def __init__(self, version, more=0.0, fails=False):
        super().__init__(version)
        self.more, self.fails = more, fails

    def execute(self, request):
        if self.fails:
            raise ModelFailed("no")
        x = request.inputs[0]
        return InferResponse("m", self.version, (Tensor("x", "FP32", x.data + np.float32(self.more)),))


def plan_of(runtime):
    return Plan("m", runtime.version, "t", ModelSettings(), lambda: pool.start_here("m", lambda: runtime))


def with_versions(scenario, *runtimes):
    async def run():
        engine = Engine(LoopClock(asyncio.get_running_loop()))
        for runtime in runtimes:
            await engine.lifecycle.load(plan_of(runtime))
        await scenario(engine)

    asyncio.run(run())


async def ask(engine, value=1.0):
    """One request through whoever's turn it is; the version that answered."""
    model = engine.find("m", "", lambda name: None)
    request = InferRequest("m", (Tensor("x", "FP32", np.full(1, value, np.float32)),), model.version)
    return (await engine.ask(request, "test")).version


@given(
    st.dictionaries(st.text("123456789", min_size=1, max_size=3), st.integers(1, 50), min_size=1, max_size=6)
)
def test_of_as_many_requests_as_there_are_shares_each_version_gets_its_own(shares):
    rotation, total = Rotation(shares), sum(shares.values())
    turns = [rotation.next() for _ in range(3 * total)]
    for start in (0, total // 2, total):
        assert Counter(turns[start : start + total]) == shares


@pytest.mark.parametrize(
    "shares", [{"1": 50}, {"1": 101, "2": -1}, {"1": 50, "2": 51}, {"1": 99.5, "2": 0.5}]
)
def test_shares_that_are_not_a_hundred_are_refused(shares):
    with pytest.raises(InvalidInput):
        Traffic(shares)


def test_a_canary_gets_exactly_its_share_and_who_asks_for_a_version_gets_it():
    async def scenario(engine):
        engine.registry.set_traffic("m", Traffic({"1": 90, "2": 10}))
        assert Counter([await ask(engine) for _ in range(300)]) == {"1": 270, "2": 30}
        for _ in range(20):
            assert engine.find("m", "1", lambda name: "2").version == "1"
            assert engine.find("m", "", {b"x-dragoman-version": "2"}.get).version == "2"
        assert Counter([await ask(engine) for _ in range(100)]) == {"1": 90, "2": 10}
        assert engine.find("m").version == "2"  # who only looks has no turn
        engine.registry.set_traffic("m", Traffic())
        assert Counter([await ask(engine) for _ in range(10)]) == {"2": 10}

    with_versions(scenario, Adds("1"), Adds("2"))


def test_while_a_version_can_not_answer_its_turns_are_the_defaults():
    async def scenario(engine):
        engine.registry.set_traffic("m", Traffic({"1": 50, "2": 50}))
        await engine.lifecycle.unload("m", "1")
        assert Counter([await ask(engine) for _ in range(10)]) == {"2": 10}
        with pytest.raises(NotFound):
            engine.registry.set_traffic("m", Traffic({"1": 50, "2": 50}))

    with_versions(scenario, Adds("1"), Adds("2"))


def test_a_shadow_gets_a_copy_of_each_request_and_answers_nobody():
    async def scenario(engine):
        engine.registry.set_default("m", "1")
        engine.registry.set_traffic("m", Traffic(shadow="2"))
        assert Counter([await ask(engine) for _ in range(50)]) == {"1": 50}
        await asyncio.sleep(0)
        report = engine.registry.shadow_report("m")
        while report.equal + report.different < 50:
            await asyncio.sleep(0.001)
        assert (report.copied, report.refused, report.failed) == (50, 0, 0)
        assert (report.equal, report.different, report.largest_difference) == (0, 50, 0.25)
        answers = engine.stats.of("m", "2").answers
        assert answers["shadow", "ok"] == 50
        engine.registry.set_traffic("m", Traffic())
        assert engine.registry.shadow_report("m") is None
        await ask(engine)
        assert answers["shadow", "ok"] == 50

    with_versions(scenario, Adds("1"), Adds("2", 0.25))


def test_a_shadow_that_fails_harms_nobody_and_is_counted():
    async def scenario(engine):
        engine.registry.set_default("m", "1")
        engine.registry.set_traffic("m", Traffic(shadow="2"))
        assert Counter([await ask(engine) for _ in range(5)]) == {"1": 5}
        report = engine.registry.shadow_report("m")
        while report.failed < 5:
            await asyncio.sleep(0.001)
        assert (report.equal, report.different) == (0, 0)

    with_versions(scenario, Adds("1"), Adds("2", fails=True))


def test_a_reload_of_either_version_keeps_the_shadow():
    async def scenario(engine):
        engine.registry.set_default("m", "1")
        engine.registry.set_traffic("m", Traffic(shadow="2"))
        for version in ("1", "2"):
            await engine.lifecycle.load(plan_of(Adds(version)))
            await ask(engine)
            report = engine.registry.shadow_report("m")
            assert report.copied == 1

    with_versions(scenario, Adds("1"), Adds("2"))


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, 2.0], [1.5, 2.0], 0.5),
        ([1.0], [np.nan], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([True], [False], 1.0),
        ([b"a"], [b"a"], 0.0),
        ([b"a"], [b"b"], np.inf),
    ],
)
def test_how_far_answers_are_apart(ours, theirs, difference):
    def answer(values):
        data = np.array(values, dtype=object) if isinstance(values[0], bytes) else np.array(values)
        return InferResponse("m", "1", (Tensor("y", "FP64", data),))

    assert measure(answer(ours), answer(theirs)) == difference


def test_answers_with_other_outputs_are_apart():
    one = InferResponse("m", "1", (Tensor("y", "FP64", np.ones(1)),))
    assert measure(one, InferResponse("m", "2", ())) == np.inf
