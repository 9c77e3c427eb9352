import asyncio
import threading

import numpy as np
import pytest

from dragoman.config import ModelSettings
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, State
from dragoman.errors import ConfigError, DeadlineExceeded, NotFound, NotReady
from dragoman.runtimes.base import Runtime
from dragoman.scheduling.scheduler import LoopClock
from dragoman.types import InferRequest, InferResponse, Signature, Tensor, TensorSpec
from dragoman.workers import pool

X = Signature((TensorSpec("x", "FP32", (-1,)),), (TensorSpec("x", "FP32", (-1,)),), batched=True)


class Gate(Runtime):
    """Answers with its input when its gate is open."""

    signature = X

    def __init__(self, version="1", signature=X):
        self.version = version
        self.signature = signature
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    @classmethod
    def load(cls, artifact):
        raise NotImplementedError

    def execute(self, request):
        self.gate.wait(10)
        return InferResponse("m", self.version, request.inputs)

    def close(self):
        self.closed = True


def plan(runtime, version="1", settings=None, **options):
    def load():
        if isinstance(runtime, BaseException):
            raise runtime
        return runtime

    settings = settings or ModelSettings()
    return Plan("m", version, "gate", settings, lambda: pool.start_here("m", load, **options))


def ask(version="", **fields):
    return InferRequest("m", (Tensor("x", "FP32", np.ones(1, np.float32)),), version, **fields)


def with_engine(scenario):
    async def run():
        await scenario(Engine(LoopClock(asyncio.get_running_loop())))

    asyncio.run(run())


def test_a_loaded_model_answers_and_an_unloaded_one_is_gone():
    async def scenario(engine):
        runtime = Gate()
        record = await engine.lifecycle.load(plan(runtime))
        assert record.state is State.READY
        answer = await engine.ask(ask(id="7"), "test")
        assert (answer.version, answer.id) == ("1", "7")
        await engine.lifecycle.unload("m", "1")
        assert record.state is State.UNLOADED
        with pytest.raises(NotFound, match="'m' has no available versions"):
            engine.find("m")

    with_engine(scenario)


def test_the_newest_version_answers_unless_one_is_asked_for():
    async def scenario(engine):
        for version in ("2", "10", "9"):
            await engine.lifecycle.load(plan(Gate(version), version))
        assert engine.find("m").version == "10"
        assert (await engine.ask(ask("2"), "test")).version == "2"
        assert engine.registry.versions("m") == ["2", "9", "10"]
        await engine.lifecycle.unload("m", "10")
        assert engine.find("m").version == "9"
        with pytest.raises(NotFound, match="version 10 is not found"):
            engine.find("m", "10")

    with_engine(scenario)


def test_a_version_that_was_made_the_default_answers_who_names_none():
    async def scenario(engine):
        registry = engine.registry
        assert registry.default("m") == ""
        for version in ("2", "10", "9"):
            await engine.lifecycle.load(plan(Gate(version), version))
        assert registry.default("m") == "10"
        registry.set_default("m", "9")
        assert (registry.default("m"), engine.find("m").version) == ("9", "9")
        await engine.lifecycle.load(plan(Gate("11"), "11"))
        assert (await engine.ask(ask(), "test")).version == "9"
        assert engine.find("m", "11").version == "11"
        registry.set_default("m", "")
        assert (registry.default("m"), engine.find("m").version) == ("11", "11")

    with_engine(scenario)


def test_no_other_version_takes_the_place_of_a_default_that_can_not_answer():
    async def scenario(engine):
        engine.registry.set_default("m", "1")
        await engine.lifecycle.load(plan(Gate("2"), "2"))
        with pytest.raises(NotFound, match="'m' has no available versions"):
            engine.find("m")
        assert engine.registry.default("m") == "1"
        await engine.lifecycle.load(plan(Gate("1"), "1"))
        assert engine.find("m").version == "1"
        await engine.lifecycle.unload("m", "1")
        with pytest.raises(NotFound):
            engine.find("m")
        assert engine.find("m", "2").version == "2"

    with_engine(scenario)


def test_unloading_answers_what_was_accepted_and_only_then_closes_the_runtime():
    async def scenario(engine):
        runtime = Gate()
        await engine.lifecycle.load(plan(runtime))
        runtime.gate.clear()
        asked = [asyncio.create_task(engine.ask(ask(), "test")) for _ in range(3)]
        await asyncio.sleep(0)
        unloading = asyncio.create_task(engine.lifecycle.unload("m", "1"))
        await asyncio.sleep(0)
        with pytest.raises(NotFound):
            engine.find("m")
        assert not runtime.closed
        runtime.gate.set()
        assert len(await asyncio.gather(*asked)) == 3
        await unloading

    with_engine(scenario)


def test_loading_a_version_again_switches_and_drains_the_old_copy():
    async def scenario(engine):
        old, new = Gate("old"), Gate("new")
        await engine.lifecycle.load(plan(old))
        held = engine.find("m")
        await engine.lifecycle.load(plan(new))
        assert (await engine.ask(ask(), "test")).version == "new"
        with pytest.raises(NotReady, match="being unloaded"):
            held.infer(ask(), lambda outcome: None, "test")

    with_engine(scenario)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ConfigError("no such file", hint="look again"), "no such file (look again)"),
        (ValueError("bad weights"), "ValueError: bad weights"),
        (SystemExit(3), "sys.exit(3)"),
    ],
)
def test_a_failed_load_says_why_and_the_server_is_not_ready(failure, reason):
    async def scenario(engine):
        record = await engine.lifecycle.load(plan(failure))
        engine.started()
        assert record.state is State.FAILED
        assert reason in record.reason
        assert not engine.ready
        with pytest.raises(NotFound, match="has no available versions"):
            engine.find("m")

    with_engine(scenario)


def test_a_failed_reload_leaves_the_old_copy_answering():
    async def scenario(engine):
        await engine.lifecycle.load(plan(Gate("old")))
        await engine.lifecycle.load(plan(ValueError("broken")))
        assert (await engine.ask(ask(), "test")).version == "old"

    with_engine(scenario)


def test_ready_means_started_all_loaded_and_not_stopping():
    async def scenario(engine):
        assert not engine.ready
        await engine.lifecycle.load(plan(Gate()))
        assert not engine.ready
        engine.started()
        assert engine.ready
        engine.stop()
        assert not engine.ready

    with_engine(scenario)


def test_a_models_time_limit_becomes_every_requests_deadline():
    async def scenario(engine):
        runtime = Gate()
        await engine.lifecycle.load(plan(runtime, settings=ModelSettings(timeout=0.01)))
        runtime.gate.clear()
        with pytest.raises(DeadlineExceeded, match="while it ran"):
            await engine.ask(ask(), "test")
        runtime.gate.set()

    with_engine(scenario)


def test_max_batch_needs_a_dimension_to_count_rows_in():
    fixed = Signature((TensorSpec("x", "FP32", (3,)),), (TensorSpec("x", "FP32", (3,)),))

    async def scenario(engine):
        record = await engine.lifecycle.load(plan(Gate(signature=fixed), settings=ModelSettings(max_batch=8)))
        assert "'x'" in record.reason
        assert "dynamic first dimension" in record.reason

    with_engine(scenario)


def test_max_batch_lets_an_operator_say_that_rows_are_independent():
    loose = Signature((TensorSpec("x", "FP32", (-1,)),), (TensorSpec("x", "FP32", (-1,)),))

    async def scenario(engine):
        await engine.lifecycle.load(plan(Gate(signature=loose), settings=ModelSettings(max_batch=8)))
        signature = engine.find("m").signature
        assert (signature.batched, signature.max_batch) == (True, 8)

    with_engine(scenario)


def test_a_caller_that_gives_up_leaves_the_queue():
    async def scenario(engine):
        runtime = Gate()
        await engine.lifecycle.load(plan(runtime))
        runtime.gate.clear()
        first, second = (asyncio.create_task(engine.ask(ask(), "test")) for _ in range(2))
        await asyncio.sleep(0)
        stats = engine.stats.of("m", "1")
        assert (stats.running, stats.waiting) == (1, 1)
        second.cancel()
        await asyncio.sleep(0)
        assert stats.waiting == 0
        runtime.gate.set()
        await first

    with_engine(scenario)
