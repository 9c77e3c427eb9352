"""Instances that follow the load, and models that sleep when memory is short: on a clock that the test turns."""

import asyncio

import pytest

from dragoman.config import ModelSettings
from dragoman.engine.autoscaler import INTERVAL, PAUSE
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan
from dragoman.errors import ConfigError, DeadlineExceeded, NotReady
from dragoman.types import InferResponse, Signature, TensorSpec
from dragoman.workers.introduction import Introduction
from dragoman.workers.pool import Pool
from tests.fakes import FakeClock, FakeInstance, request

X = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("x", "FP32", (-1, 2)),))
MIB = 1 << 20


class Farm:
    """An engine whose models have fake instances; ``refuses`` makes loads fail."""

    def __init__(self, budget=0):
        self.clock = FakeClock()
        self.engine = Engine(self.clock, budget)
        self.made = {}
        self.refuses = False

    async def load(self, name="m", megabytes=0, **settings):
        async def more():
            if self.refuses:
                raise ConfigError("no memory left")
            instance = FakeInstance()
            instance.memory = megabytes * MIB
            self.made.setdefault(name, []).append(instance)
            return instance

        async def start():
            first = [await more() for _ in range(settings.get("instances", 1) or 1)]
            return Pool(Introduction(X), first, more)

        record = await self.engine.lifecycle.load(Plan(name, "1", "fake", ModelSettings(**settings), start))
        assert record.reason == ""
        return self.engine.find(name)

    async def pass_time(self, seconds):
        """In steps, so that what each look begins is done before the next one."""
        steps = max(1, round(seconds / INTERVAL))
        for _ in range(steps):
            self.clock.advance(seconds / steps)
            await self.settle()

    async def settle(self):
        """Until nothing is being changed or measured; who waits for the clock waits on."""
        residency, scaling = self.engine.residency, self.engine.autoscaler._tasks
        for _ in range(50):
            for _ in range(10):
                await asyncio.sleep(0)
            await asyncio.to_thread(lambda: None)  # measuring is done on a thread
            waking = any(model._waking is not None for model in self.engine.registry)
            if residency._looking is None and not residency._lock.locked() and not scaling and not waking:
                return

    def ask(self, name="m"):
        outcomes = []
        made = request()
        made.model = name
        self.engine.find(name).infer(made, outcomes.append, "test")
        return outcomes

    def finish(self, name="m"):
        for instance in self.made[name]:
            if instance.busy:
                instance.finish()


def on_a_farm(scenario, **options):
    async def run():
        farm = Farm(**options)
        farm.engine.started()
        await scenario(farm)

    asyncio.run(run())


def test_instances_follow_a_step_up_and_down():
    async def scenario(farm):
        model = await farm.load(max_instances=3, target_delay=0.1, idle_timeout=5.0)
        answers = [farm.ask() for _ in range(20)]
        counts = []
        for _ in range(4):
            await farm.pass_time(INTERVAL)
            counts.append(model.instances)
        assert counts == [2, 3, 3, 3]
        assert sum(instance.busy for instance in farm.made["m"]) == 3
        while not all(answers):
            farm.finish()
        await farm.pass_time(30)
        assert model.instances == 1
        assert [instance.closed for instance in farm.made["m"]].count(True) == 2
        assert all(isinstance(answer[0], InferResponse) for answer in answers)

    on_a_farm(scenario)


def test_an_instance_at_work_is_given_back_only_when_it_has_answered():
    async def scenario(farm):
        model = await farm.load(instances=2)
        answers = [farm.ask(), farm.ask()]
        shrinking = asyncio.create_task(model.scale(1))
        await farm.settle()
        assert not any(instance.closed for instance in farm.made["m"])
        waiting = farm.ask()
        farm.finish()
        await shrinking
        assert [instance.closed for instance in farm.made["m"]].count(True) == 1
        farm.finish()
        assert all(answers)
        assert waiting

    on_a_farm(scenario)


def test_after_a_failed_load_it_waits_before_it_tries_again():
    async def scenario(farm):
        model = await farm.load(max_instances=2, target_delay=0.1)
        for _ in range(5):
            farm.ask()
        farm.refuses = True
        await farm.pass_time(INTERVAL)
        farm.refuses = False
        await farm.pass_time(PAUSE - 2 * INTERVAL)
        assert model.instances == 1
        await farm.pass_time(3 * INTERVAL)
        assert model.instances == 2

    on_a_farm(scenario)


def test_a_model_nobody_asks_sleeps_and_wakes_for_the_next_request():
    async def scenario(farm):
        model = await farm.load(instances=0, idle_timeout=5.0)
        assert model.instances == 1  # it has been loaded once, to know what it takes
        await farm.pass_time(10)
        assert model.instances == 0
        assert farm.made["m"][0].closed
        first, second = farm.ask(), farm.ask()
        await farm.settle()
        assert model.instances == 1
        farm.finish()
        farm.finish()
        assert first
        assert second
        assert len(farm.made["m"]) == 2

    on_a_farm(scenario)


def test_who_waits_for_a_sleeping_model_does_not_wait_for_ever():
    async def scenario(farm):
        model = await farm.load(instances=0, idle_timeout=5.0, wake_timeout=3.0)
        await farm.pass_time(10)
        never = asyncio.Event()

        async def more():
            await never.wait()

        model._pool._more = more
        answer = farm.ask()
        await farm.pass_time(2.5)
        assert not answer
        await farm.pass_time(1.0)
        assert isinstance(answer[0], DeadlineExceeded)
        model._waking.cancel()

    on_a_farm(scenario)


def test_who_waits_for_a_model_that_can_not_be_woken_is_told():
    async def scenario(farm):
        await farm.load(instances=0, idle_timeout=5.0)
        await farm.pass_time(10)
        farm.refuses = True
        answer = farm.ask()
        await farm.settle()
        assert isinstance(answer[0], NotReady)
        farm.refuses = False
        answer = farm.ask()
        await farm.settle()
        farm.finish()
        assert isinstance(answer[0], InferResponse)

    on_a_farm(scenario)


def test_without_a_wake_timeout_nothing_waits():
    async def scenario(farm):
        model = await farm.load(instances=0, wake_timeout=0.0)
        await model.scale(0)
        with pytest.raises(NotReady, match="no instance"):
            farm.ask()

    on_a_farm(scenario)


def test_memory_stays_within_its_budget_and_who_was_asked_longest_ago_sleeps_first():
    async def scenario(farm):
        names = ["a", "b", "c"]
        for name in names:
            await farm.load(name, megabytes=40, instances=0, idle_timeout=1000.0)
            farm.ask(name)
            farm.finish(name)
            await farm.pass_time(INTERVAL)
        awake = {name: farm.engine.find(name).instances for name in names}
        assert awake == {"a": 0, "b": 1, "c": 1}
        farm.engine.find("c").stats.last -= 60.0  # b was asked after c
        answer = farm.ask("a")
        await farm.settle()
        farm.finish("a")
        assert isinstance(answer[0], InferResponse)
        assert {name: farm.engine.find(name).instances for name in names} == {"a": 1, "b": 1, "c": 0}
        assert await farm.engine.residency.used() == 80 * MIB

    on_a_farm(scenario, budget=100 * MIB)


def test_a_model_at_work_is_not_sent_to_sleep_but_waited_for():
    async def scenario(farm):
        for name in ("a", "b"):
            await farm.load(name, megabytes=60, instances=0, idle_timeout=1000.0)
            await farm.pass_time(INTERVAL)
        assert (farm.engine.find("a").instances, farm.engine.find("b").instances) == (0, 1)
        running = farm.ask("b")
        answer = farm.ask("a")
        await farm.pass_time(2)
        assert not answer
        assert farm.engine.find("b").instances == 1
        farm.finish("b")
        assert running
        await farm.pass_time(1)
        farm.finish("a")
        assert isinstance(answer[0], InferResponse)
        assert farm.engine.find("b").instances == 0

    on_a_farm(scenario, budget=100 * MIB)


def test_models_that_must_stay_are_never_sent_to_sleep():
    async def scenario(farm):
        await farm.load("pinned", megabytes=90, instances=1)
        await farm.load("a", megabytes=60, instances=0)
        await farm.pass_time(INTERVAL)
        assert farm.engine.find("a").instances == 0
        answer = farm.ask("a")
        await farm.settle()
        assert isinstance(answer[0], NotReady)
        assert farm.engine.find("pinned").instances == 1

    on_a_farm(scenario, budget=100 * MIB)
