"""A repository that is looked at: each look is called by hand, or made by a clock that the test turns."""

import asyncio
import shutil

import pytest

from dragoman.engine.following import Follower
from dragoman.engine.polling import Poller
from dragoman.errors import NotFound
from dragoman.repository.offers import offers
from tests.engine.control import LOADS, describe, gate, run, write
from tests.fakes import FakeClock

BROKEN = 'raise ValueError("broken")'


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def polling(scenario, models, **options):
    run(scenario, models, "poll", **options)


def test_an_empty_folder_is_ready_for_what_comes(models):
    async def scenario(desk):
        assert desk.engine.ready
        assert await desk.index() == {}
        write(models)
        await desk.look()
        assert await desk.ask() == 1

    polling(scenario, models)


def test_new_changed_and_removed_models_are_followed(models):
    write(models, "a/1", 1)
    write(models, "b/1", 2)

    async def scenario(desk):
        assert sorted(LOADS) == [1, 2]
        write(models, "c/1", 3)
        write(models, "b/1", 4)
        shutil.rmtree(models / "a")
        await desk.look()
        assert (await desk.ask("b"), await desk.ask("c")) == (4, 3)
        with pytest.raises(NotFound):
            await desk.ask("a")
        await desk.engine.lifecycle.drained()
        await desk.look(1)
        assert await desk.index() == {"b/1": "READY", "c/1": "READY"}
        await desk.look(5)
        assert sorted(LOADS) == [1, 2, 3, 4]

    polling(scenario, models)


def test_versions_are_followed_by_the_models_policy(models):
    write(models)

    async def scenario(desk):
        write(models, "m/2", 2)
        await desk.look()
        assert desk.engine.registry.versions("m") == ["2"]
        describe(models, "versions = 'all'")
        await desk.look()
        assert desk.engine.registry.versions("m") == ["1", "2"]
        shutil.rmtree(models / "m/2")
        await desk.look()
        assert await desk.ask() == 1

    polling(scenario, models)


def test_what_is_being_copied_is_left_alone(models):
    write(models)

    async def scenario(desk):
        (models / "m/2").mkdir()
        await desk.look(1)
        (models / "m/2/model.py").write_text("class Half")
        await desk.look(1)
        write(models, "m/2", 2)
        await desk.look(1)
        assert desk.engine.registry.versions("m") == ["1"]
        await desk.look(1)
        assert await desk.ask() == 2
        assert sorted(LOADS) == [1, 2]

    polling(scenario, models)


def test_a_model_that_is_moved_away_and_back_stays(models):
    write(models)

    async def scenario(desk):
        before = desk.engine.find("m")
        (models / "m").rename(models.parent / "m")
        await desk.look(1)
        (models.parent / "m").rename(models / "m")
        await desk.look(5)
        assert desk.engine.find("m") is before

    polling(scenario, models)


def test_what_fails_leaves_what_serves_and_is_not_tried_again_until_it_changes(models):
    write(models)

    async def scenario(desk):
        write(models, "m/2", 2, broken=BROKEN)
        write(models, "new/1", 3, broken=BROKEN)
        await desk.look(6)
        assert await desk.ask() == 1
        assert desk.engine.ready
        index = await desk.index()
        assert index["m/1"] == "READY"
        assert index["m/2"].startswith("FAILED Model.load failed")
        assert index["new/1"].startswith("FAILED Model.load failed")
        assert sorted(LOADS) == [1, 2, 3]
        write(models, "m/2", 2)
        await desk.look()
        assert await desk.ask() == 2
        assert (await desk.index())["m/2"] == "READY"

    polling(scenario, models)


def test_a_change_that_fails_in_place_leaves_the_version_as_it_was(models):
    write(models)

    async def scenario(desk):
        write(models, answer=2, broken=BROKEN)
        await desk.look(4)
        assert await desk.ask() == 1
        describe(models, "max_batch = 'x'")
        await desk.look(4)
        assert await desk.ask() == 1
        describe(models, "")
        write(models, answer=3)
        await desk.look()
        assert await desk.ask() == 3
        assert await desk.index() == {"m/1": "READY"}

    polling(scenario, models)


def test_a_model_that_was_missed_at_the_start_makes_the_server_ready_when_it_is_repaired_or_gone(models):
    write(models, "a/1", broken=BROKEN)
    write(models, "b/1", broken=BROKEN)

    async def scenario(desk):
        assert not desk.engine.ready
        write(models, "a/1", 2)
        await desk.look()
        assert not desk.engine.ready
        shutil.rmtree(models / "b")
        await desk.look()
        assert desk.engine.ready

    polling(scenario, models)


def test_a_folder_that_can_not_be_read_for_a_while_unloads_nothing(models):
    write(models)

    async def scenario(desk):
        models.rename(models.parent / "unmounted")
        await desk.look(5)
        assert await desk.ask() == 1
        (models.parent / "unmounted").rename(models)
        await desk.look(5)
        assert LOADS == [1]

    polling(scenario, models)


def test_a_model_that_loads_slowly_keeps_no_other_from_being_followed(models):
    opened = gate("slow")

    async def scenario(desk):
        write(models, "slow/1", 1, loading="slow")
        await desk.look(1)
        looking = asyncio.create_task(desk.look(1))
        while LOADS != [1]:
            await asyncio.sleep(0)
        write(models, "quick/1", 2)
        await desk.look()
        assert await desk.ask("quick") == 2
        write(models, "slow/2", 3)
        await desk.look(1)
        again = asyncio.create_task(desk.look(1))
        opened.set()
        await asyncio.gather(looking, again)
        assert await desk.ask("slow") == 3
        assert desk.engine.registry.versions("slow") == ["2"]

    polling(scenario, models)


def test_an_old_version_answers_what_it_has_accepted(models):
    opened = gate("answering")
    write(models, answering="answering")

    async def scenario(desk):
        asked = asyncio.create_task(desk.ask())
        await asyncio.sleep(0)
        write(models, "m/2", 2)
        await desk.look()
        assert await desk.ask() == 2
        opened.set()
        assert await asked == 1

    polling(scenario, models)


def test_looks_are_made_by_the_clock_and_a_failing_one_is_not_the_last(caplog):
    async def scenario():
        clock, looks = FakeClock(), []

        async def look():
            looks.append(clock.time())
            if len(looks) == 2:
                raise OSError("the disk is on fire")
            return offers([])

        class Follows(Follower):
            def __init__(self):
                pass

            def forget(self, there, only="", *, awaited=True):
                pass

        poller = Poller(look, Follows(), clock, 15.0, {})
        poller.start()
        for _ in range(4):
            clock.advance(15.0)
            for _ in range(5):
                await asyncio.sleep(0)
        assert looks == [1015.0, 1030.0, 1045.0, 1060.0]
        await poller.stop()
        clock.advance(100.0)
        assert len(looks) == 4

    asyncio.run(scenario())
    assert caplog.messages == ["the models could not be looked at"]


def test_stopping_gives_up_what_is_being_loaded(models):
    opened = gate("never")

    async def scenario(desk):
        write(models, loading="never")
        await desk.look(1)
        looking = asyncio.create_task(desk.look(1))
        while LOADS != [1]:
            await asyncio.sleep(0)
        await desk.control.stop()
        with pytest.raises(asyncio.CancelledError):
            await looking
        opened.set()

    polling(scenario, models)
