"""Changes to models while they serve: each is done and written down, or has changed nothing."""

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from dragoman.config import ModelSettings
from dragoman.engine.desired import Desired, Wanted
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, State
from dragoman.engine.manager import Manager
from dragoman.engine.traffic import Traffic
from dragoman.errors import Conflict, InvalidInput, LoadFailed, NotFound, StorageFailed
from dragoman.runtimes.base import Runtime
from dragoman.scheduling.scheduler import LoopClock
from dragoman.types import InferRequest, InferResponse, Signature, Tensor, TensorSpec
from dragoman.workers import pool

X = Signature((TensorSpec("x", "FP32", (-1,)),), (TensorSpec("x", "FP32", (-1,)),), batched=True)
OPEN = threading.Event()
OPEN.set()


class Echo(Runtime):
    """Loads when its gate is open, and answers with its version."""

    signature = X

    def __init__(self, version):
        self.version = version

    @classmethod
    def load(cls, artifact):
        raise NotImplementedError

    def execute(self, request):
        return InferResponse("m", self.version, request.inputs)


class Book:
    """A ledger in memory that can be full."""

    def __init__(self):
        self.pages = {}
        self.lines = []
        self.full = False

    def write(self, desired, what, who):
        if self.full:
            raise StorageFailed("the disk is full")
        self.pages[desired.name] = desired
        self.lines.append((desired.name, what, who))

    def erase(self, name, who):
        if self.full:
            raise StorageFailed("the disk is full")
        del self.pages[name]
        self.lines.append((name, "erase", who))


def plan(version="1", *, name="m", gate=OPEN, fails=False, source=None, **settings):
    def load():
        assert gate.wait(10)
        if fails:
            raise ValueError("no such luck")
        return Echo(version)

    said = ModelSettings(**settings)

    def start():
        return pool.start_here(name, load, said.instances, "thread")

    return Plan(name, version, "echo", said, start, source)


def ask(version="", name="m"):
    return InferRequest(name, (Tensor("x", "FP32", np.ones(1, np.float32)),), version)


def managing(scenario, **options):
    async def run():
        engine, book = Engine(LoopClock(asyncio.get_running_loop())), Book()
        try:
            await scenario(engine, Manager(engine, book, **options), book)
        finally:
            await engine.close()

    asyncio.run(run())


async def answers(engine, version=""):
    return (await engine.ask(ask(version), "test")).version


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_a_registered_version_answers_and_is_written_down():
    async def scenario(engine, manager, book):
        record = await manager.register(plan(instances=2, max_instances=3), {"from": "here"}, "ann")
        assert record.state is State.READY
        assert await answers(engine) == "1"
        wanted = Wanted("1", {"from": "here"}, 2, 3)
        assert manager.desired("m").versions == {"1": wanted} == book.pages["m"].versions
        assert book.lines == [("m", "load 1", "ann")]
        assert manager.names() == ["m"]

    managing(scenario)


def test_a_version_is_registered_once_unless_it_replaces_the_other():
    async def scenario(engine, manager, book):
        await manager.register(plan(), {"n": 1})
        with pytest.raises(Conflict, match="version 1 already"):
            await manager.register(plan(), {"n": 2})
        assert book.pages["m"].versions["1"].document == {"n": 1}
        await manager.register(plan(), {"n": 2}, replaces=True)
        assert book.pages["m"].versions["1"].document == {"n": 2}
        assert await answers(engine) == "1"

    managing(scenario)


def test_a_version_that_can_not_be_loaded_leaves_no_trace():
    async def scenario(engine, manager, book):
        with pytest.raises(LoadFailed, match="no such luck"):
            await manager.register(plan(fails=True), {})
        assert engine.index() == []
        assert not engine.registry.knows("m")
        assert engine.registry.default("m") == ""
        assert manager.names() == []
        assert book.lines == []
        await manager.register(plan(), {})
        assert await answers(engine) == "1"

    managing(scenario, first_stays=True)


def test_a_replacement_that_can_not_be_loaded_leaves_the_old_one_serving():
    async def scenario(engine, manager, book):
        await manager.register(plan(), {"n": 1})
        with pytest.raises(LoadFailed):
            await manager.register(plan(fails=True), {"n": 2}, replaces=True)
        assert await answers(engine) == "1"
        assert (
            manager.desired("m").versions["1"].document == {"n": 1} == book.pages["m"].versions["1"].document
        )
        assert [record.state for record in engine.index()] == [State.READY]

    managing(scenario)


def test_requests_never_find_what_could_not_be_written_down():
    async def scenario(engine, manager, book):
        book.full = True
        with pytest.raises(StorageFailed):
            await manager.register(plan(), {})
        assert not engine.registry.knows("m")
        assert engine.index() == []
        book.full = False
        await manager.register(plan(), {"n": 1})
        book.full = True
        with pytest.raises(StorageFailed):
            await manager.register(plan("2"), {})
        with pytest.raises(StorageFailed):
            await manager.register(plan(), {"n": 2}, replaces=True)
        with pytest.raises(StorageFailed):
            await manager.set_default("m", "1")
        with pytest.raises(StorageFailed):
            await manager.unregister("m")
        with pytest.raises(StorageFailed):
            await manager.set_traffic("m", Traffic({"1": 100}))
        assert await answers(engine) == "1"
        assert engine.registry.versions("m") == ["1"]
        assert [(record.version, record.state) for record in engine.index()] == [("1", State.READY)]
        assert manager.desired("m") == book.pages["m"]
        assert book.pages["m"].versions["1"].document == {"n": 1}

    managing(scenario)


def test_two_registrations_of_one_version_at_once_are_one_and_a_conflict():
    async def scenario(engine, manager, book):
        gate = threading.Event()
        both = [asyncio.create_task(manager.register(plan(gate=gate), {"n": n})) for n in (1, 2)]
        await until(lambda: engine.index())
        gate.set()
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert first.state is State.READY
        assert isinstance(second, Conflict)
        assert book.pages["m"].versions["1"].document == {"n": 1}

    managing(scenario)


def test_the_second_of_two_registrations_has_its_turn_when_the_first_fails():
    async def scenario(engine, manager, book):
        both = [manager.register(plan(fails=fails), {"fails": fails}) for fails in (True, False)]
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(first, LoadFailed)
        assert second.state is State.READY
        assert book.pages["m"].versions["1"].document == {"fails": False}

    managing(scenario, first_stays=True)


def test_other_models_do_not_wait():
    async def scenario(engine, manager, book):
        gate = threading.Event()
        slow = asyncio.create_task(manager.register(plan(gate=gate, name="slow"), {}))
        await manager.register(plan(), {})
        assert not slow.done()
        gate.set()
        await slow

    managing(scenario)


def test_the_newest_version_is_the_default_unless_the_first_stays():
    async def newest(engine, manager, book):
        for version in ("1", "2"):
            await manager.register(plan(version), {})
        assert (await answers(engine), manager.desired("m").default) == ("2", "")

    async def first(engine, manager, book):
        for version in ("2", "3", "1"):
            await manager.register(plan(version), {})
        assert (await answers(engine), book.pages["m"].default) == ("2", "2")

    managing(newest)
    managing(first, first_stays=True)


def test_the_first_version_is_the_default_from_the_moment_it_is_loaded_at():
    async def scenario(engine, manager, book):
        gate = threading.Event()
        loading = asyncio.create_task(manager.register(plan("1", gate=gate), {}))
        await until(lambda: engine.index())
        assert engine.registry.default("m") == "1"
        gate.set()
        await loading

    managing(scenario, first_stays=True)


def test_a_default_can_be_set_and_taken_back():
    async def scenario(engine, manager, book):
        for version in ("1", "2", "3"):
            await manager.register(plan(version), {})
        await manager.set_default("m", "1")
        await manager.set_default("m", "2")
        assert (await answers(engine), book.pages["m"].default) == ("2", "2")
        assert await manager.roll_back("m") == "1"
        assert await manager.roll_back("m") == "3"  # the newest was the default at first
        with pytest.raises(Conflict, match="no earlier default"):
            await manager.roll_back("m")
        assert (await answers(engine), book.pages["m"].default) == ("3", "3")

    managing(scenario)


def test_a_roll_back_passes_over_what_is_gone():
    async def scenario(engine, manager, book):
        for version in ("1", "2", "3"):
            await manager.register(plan(version), {})
        for version in ("1", "2", "3"):
            await manager.set_default("m", version)
        await manager.unregister("m", "2")
        assert await manager.roll_back("m") == "1"

    managing(scenario)


def test_what_is_not_there_can_not_be_changed():
    async def scenario(engine, manager, book):
        await manager.register(plan(), {})
        for version in ("2", "nosuch"):
            with pytest.raises(NotFound):
                await manager.set_default("m", version)
            with pytest.raises(NotFound):
                await manager.unregister("m", version)
            with pytest.raises(NotFound):
                await manager.scale("m", version, 1, 1)
        for change in (manager.unregister("n"), manager.set_default("n", ""), manager.scale("n", "", 1, 1)):
            with pytest.raises(NotFound):
                await change
        with pytest.raises(NotFound):
            manager.desired("n")
        assert book.lines == [("m", "load 1", "")]

    managing(scenario)


def test_the_default_version_goes_last():
    async def scenario(engine, manager, book):
        for version in ("1", "2"):
            await manager.register(plan(version), {})
        with pytest.raises(Conflict, match="its default"):
            await manager.unregister("m", "1")
        assert await manager.unregister("m", "2") == ["2"]
        assert await answers(engine) == "1"
        assert list(book.pages["m"].versions) == ["1"]
        assert await manager.unregister("m", "1") == ["1"]
        assert (engine.index(), book.pages, manager.names()) == ([], {}, [])

    managing(scenario, first_stays=True)


def test_a_default_that_is_made_to_go_leaves_the_newest():
    async def scenario(engine, manager, book):
        for version in ("1", "2", "3"):
            await manager.register(plan(version), {})
        await manager.set_default("m", "1")
        await manager.set_traffic("m", Traffic({"1": 50, "2": 50}, "3"))
        await manager.unregister("m", "1", force=True)
        assert (await answers(engine), book.pages["m"].default) == ("3", "")
        assert book.pages["m"].traffic == Traffic({}, "3") == engine.registry.traffic("m")
        assert book.pages["m"].before == ("3",)

    managing(scenario)


def test_all_versions_go_together():
    async def scenario(engine, manager, book):
        for version in ("1", "2"):
            await manager.register(plan(version), {})
        assert await manager.unregister("m", "", "ann") == ["1", "2"]
        assert book.lines[-1] == ("m", "erase", "ann")
        assert (engine.index(), manager.names()) == ([], [])
        with pytest.raises(NotFound):
            engine.find("m")

    managing(scenario)


@pytest.mark.parametrize("version", ["1", ""])
def test_a_version_goes_without_waiting_for_its_load(version):
    async def scenario(engine, manager, book):
        never = threading.Event()
        loading = asyncio.create_task(manager.register(plan(gate=never), {}))
        await until(lambda: engine.index())
        assert await manager.unregister("m", version) == ["1"]
        with pytest.raises(LoadFailed, match="given up"):
            await loading
        assert (engine.index(), book.lines) == ([], [])
        never.set()
        await manager.register(plan(), {})
        assert await answers(engine) == "1"

    managing(scenario, first_stays=True)


def test_a_version_that_was_wanted_before_goes_while_it_loads():
    async def scenario(engine, manager, book):
        never = threading.Event()
        book.pages["m"] = Desired("m", {"1": Wanted("1")})
        manager.adopt(book.pages["m"])
        loading = asyncio.create_task(engine.lifecycle.load(plan(gate=never)))
        await until(lambda: engine.index())
        assert await manager.unregister("m") == ["1"]
        assert (await loading).state is not State.READY
        assert (engine.index(), book.pages) == ([], {})
        never.set()

    managing(scenario)


def test_what_was_wanted_before_is_known_before_it_is_loaded():
    async def scenario(engine, manager, book):
        manager.adopt(Desired("m", {"1": Wanted("1"), "2": Wanted("2")}, default="1"))
        assert engine.registry.default("m") == "1"
        with pytest.raises(Conflict):
            await manager.register(plan(), {})
        for version in ("1", "2"):
            await engine.lifecycle.load(plan(version))
        assert await answers(engine) == "1"

    managing(scenario)


def test_instances_are_scaled_and_written_down():
    async def scenario(engine, manager, book):
        await manager.register(plan(), {})
        model = engine.find("m")
        assert await manager.scale("m", "", 3, 5) == 3
        assert (model.instances, model.range.maximum) == (3, 5)
        assert await manager.scale("m", "1", 1, 2) == 2  # only what is beyond the maximum goes at once
        assert model.instances == 2
        wanted = book.pages["m"].versions["1"]
        assert (wanted.minimum, wanted.maximum) == (1, 2)
        assert await manager.scale("m", "", 0, 0, wake_timeout=0.0) == 0
        assert not model.sleeps
        with pytest.raises(InvalidInput):
            await manager.scale("m", "", -1, 1)

    managing(scenario)


def test_an_instance_that_can_not_be_started_changes_nothing():
    async def scenario(engine, manager, book):
        broken = threading.Event()

        def load():
            if broken.is_set():
                raise ValueError("no more memory")
            return Echo("1")

        good = replace(plan(), start=lambda: pool.start_here("m", load, 1, "thread"))
        await manager.register(good, {})
        model, settings = engine.find("m"), engine.find("m").settings
        broken.set()
        with pytest.raises(LoadFailed, match="no more memory"):
            await manager.scale("m", "", 3, 3)
        assert (model.instances, model.settings) == (1, settings)
        assert book.pages["m"].versions["1"].minimum == 1
        broken.clear()
        book.full = True
        with pytest.raises(StorageFailed):
            await manager.scale("m", "", 3, 3)
        assert (model.instances, model.settings) == (1, settings)
        book.full = False
        assert await manager.scale("m", "", 3, 3) == 3

    managing(scenario)


def test_changes_at_once_come_one_after_the_other():
    async def scenario(engine, manager, book):
        await manager.register(plan(), {})
        await asyncio.gather(*(manager.scale("m", "", count, count) for count in (3, 1, 4, 2)))
        model = engine.find("m")
        assert model.instances == 2
        assert [what for _, what, _ in book.lines[1:]] == ["scale 1"] * 4
        assert book.pages["m"].versions["1"].minimum == 2

    managing(scenario)


def test_requests_are_answered_while_versions_come_and_go():
    async def scenario(engine, manager, book):
        await manager.register(plan("0"), {})
        over = False

        async def client():
            seen = []
            while not over:
                seen.append(await answers(engine))
                await asyncio.sleep(0)
            return [*seen, await answers(engine)]

        clients = [asyncio.create_task(client()) for _ in range(3)]
        for version in range(1, 8):
            with pytest.raises(LoadFailed):
                await manager.register(plan(f"{version}", fails=True), {})
            await manager.register(plan(f"{version}"), {})
            await manager.unregister("m", f"{version - 1}")
        over = True
        for seen in await asyncio.gather(*clients):
            assert sorted(seen, key=int) == seen
            assert seen[-1] == "7"

    managing(scenario)
