import asyncio
import sys
import threading
import weakref

import numpy as np
import pytest

from dragoman.errors import ConfigError, InvalidInput, ModelFailed
from dragoman.runtimes.base import Runtime
from dragoman.types import InferResponse, Signature, Tensor, TensorSpec
from dragoman.workers import pool
from dragoman.workers.execution import execute
from tests.fakes import request

SPEC = TensorSpec("x", "FP32", (-1, 2))


class Echo(Runtime):
    """Answers with its input; negative values are refused, 666 breaks it, 777 exits."""

    signature = Signature((SPEC,), (SPEC,), batched=True)

    def __init__(self, fast=False):
        self.fast = fast
        self.threads = set()
        self.closed = threading.Event()

    @classmethod
    def load(cls, artifact):
        raise NotImplementedError

    def execute(self, asked):
        self.threads.add(threading.current_thread())
        data = asked.inputs[0].data
        if (data < 0).any():
            raise InvalidInput("values must not be negative")
        if (data == 666).any():
            raise RuntimeError("the secret path is /srv/model")
        if (data == 777).any():
            sys.exit(3)
        return InferResponse("m", "1", (Tensor("x", "FP32", data),))

    def close(self):
        self.closed.set()


def run(instance, requests):
    async def answer():
        future = asyncio.get_running_loop().create_future()
        instance.run(requests, lambda outcomes, seconds: future.set_result((outcomes, seconds)), None)
        return await asyncio.wait_for(future, 10)

    return answer()


def test_one_clients_bad_rows_fail_alone():
    outcomes = execute(
        Echo(), [request(value=1, id="a"), request(value=-1, id="b"), request(value=3, id="c")], None
    )
    assert [getattr(outcome, "id", None) for outcome in outcomes] == ["a", None, "c"]
    assert isinstance(outcomes[1], InvalidInput)
    assert outcomes[2].output("x").data[0, 0] == 3


@pytest.mark.parametrize("value", [666, 777])
def test_a_models_failure_is_told_without_its_insides_and_logged_with_them(value, caplog):
    (outcome,) = execute(Echo(), [request(value=value)], None)
    assert isinstance(outcome, ModelFailed)
    assert "/srv" not in outcome.message
    failure = outcome.message.rsplit(" ", 1)[-1]
    assert any(record.__dict__.get("id") == failure and record.exc_info for record in caplog.records)


@pytest.mark.parametrize("values", [[777], [1, 777]], ids=str)
def test_a_process_ends_with_a_model_that_exits(values):
    with pytest.raises(SystemExit):
        execute(Echo(), [request(value=value) for value in values], None, (SystemExit, MemoryError))


class Hungry(Echo):
    """Has memory for one row."""

    def execute(self, asked):
        if len(asked.inputs[0].data) > 1:
            raise MemoryError
        return super().execute(asked)


def test_where_memory_does_not_do_for_all_it_may_do_for_each():
    outcomes = execute(Hungry(), [request(id="a"), request(id="b")], None, (SystemExit, MemoryError))
    assert [outcome.id for outcome in outcomes] == ["a", "b"]
    with pytest.raises(MemoryError):
        execute(Hungry(), [request(rows=2)], None, (SystemExit, MemoryError))
    assert isinstance(execute(Hungry(), [request(rows=2)], None)[0], ModelFailed)


def test_only_wanted_outputs_are_answered():
    (outcome,) = execute(Echo(), [request(outputs=("x",))], None)
    assert [tensor.name for tensor in outcome.outputs] == ["x"]
    (outcome,) = execute(Echo(), [request(outputs=("y",))], None)
    assert isinstance(outcome, ModelFailed)
    assert "'y'" in outcome.message


def test_a_thread_runs_its_model_and_the_event_loop_hears_of_it():
    async def scenario():
        runtime = Echo()
        made = await pool.start_here("m", lambda: runtime)
        (instance,) = made.instances
        outcomes, seconds = await run(instance, [request(value=2), request(value=3)])
        assert [outcome.output("x").data[0, 0] for outcome in outcomes] == [2, 3]
        assert seconds > 0
        assert threading.current_thread() not in runtime.threads
        made.close(lambda: None)
        assert await asyncio.to_thread(runtime.closed.wait, 10)

    asyncio.run(scenario())


def test_a_fast_model_runs_where_it_is_called_and_is_closed_once():
    async def scenario():
        runtime = Echo(fast=True)
        made = await pool.start_here("m", lambda: runtime)
        (instance,) = made.instances
        await run(instance, [request()])
        assert runtime.threads == {threading.current_thread()}
        assert not runtime.closed.is_set()
        made.close(lambda: None)
        assert runtime.closed.is_set()

    asyncio.run(scenario())


def test_the_operator_decides_against_what_a_model_says_of_its_speed():
    async def scenario():
        runtime = Echo(fast=True)
        made = await pool.start_here("m", lambda: runtime, where="thread")
        await run(made.instances[0], [request()])
        assert threading.current_thread() not in runtime.threads
        made.close(lambda: None)

    asyncio.run(scenario())


def test_every_instance_has_a_copy_of_its_own():
    async def scenario():
        made = await pool.start_here("m", Echo, instances=3)
        assert len(made.instances) == 3
        for instance in made.instances:
            await run(instance, [request()])
        made.close(lambda: None)

    asyncio.run(scenario())


def test_a_load_that_fails_raises_what_it_raised():
    def load():
        raise ConfigError("no")

    async def scenario():
        with pytest.raises(ConfigError, match="no"):
            await pool.start_here("m", load, instances=2)

    asyncio.run(scenario())


def test_a_model_that_nobody_waits_for_any_more_is_closed_when_it_has_loaded():
    begun, go_on, runtime = threading.Event(), threading.Event(), Echo()

    def load():
        begun.set()
        go_on.wait(10)
        return runtime

    async def scenario():
        loading = asyncio.create_task(pool.start_here("m", load))
        await asyncio.to_thread(begun.wait, 10)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        go_on.set()
        assert await asyncio.to_thread(runtime.closed.wait, 10)

    asyncio.run(scenario())


def test_nothing_of_a_request_outlives_its_answer():
    async def scenario():
        made = await pool.start_here("m", Echo)
        asked = request(value=5)
        data = weakref.ref(asked.inputs[0].data)
        await run(made.instances[0], [asked])
        del asked
        await asyncio.sleep(0.05)
        assert data() is None
        made.close(lambda: None)

    asyncio.run(scenario())


def test_rows_keep_their_owner_through_a_thread():
    async def scenario():
        made = await pool.start_here("m", Echo)
        for batch in range(50):
            requests = [request(rows=n, value=batch * 10 + n) for n in range(1, 5)]
            outcomes, _ = await run(made.instances[0], requests)
            for asked, outcome in zip(requests, outcomes, strict=True):
                np.testing.assert_array_equal(asked.inputs[0].data, outcome.output("x").data)
        made.close(lambda: None)

    asyncio.run(scenario())
