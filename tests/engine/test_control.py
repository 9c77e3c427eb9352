"""Models that are loaded and unloaded on request, and what is there when a server starts."""

import asyncio
import json

import pytest

from dragoman.engine.lifecycle import State
from dragoman.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    NoVersion,
    StorageFailed,
    TooLarge,
    Unreadable,
    VersionsFailed,
)
from dragoman.repository.overrides import Overrides
from dragoman.repository.uploads import PREFIX
from tests.engine.control import LOADS, MODEL, Desk, MemoryLedger, describe, gate, run, write

BROKEN = 'raise ValueError("broken")'
MARK = "Model.load failed at model.py"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "dragoman" / "uploads"


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def explicit(scenario, models, **options):
    run(scenario, models, "explicit", **options)


# what is there at the start


def test_without_control_all_is_loaded_and_nothing_changes_it(models):
    write(models)

    async def scenario(desk):
        assert await desk.index() == {"m/1": "READY"}
        write(models, "m/2", 2)
        for change in (desk.control.load("m"), desk.control.unload("m")):
            with pytest.raises(Forbidden, match=r"where server\.control is"):
                await change
        assert await desk.ask() == 1

    run(scenario, models, "none")


def test_nothing_is_loaded_that_nobody_asked_for(models):
    write(models)
    describe(models, "runtime = 3", "unreadable")

    async def scenario(desk):
        assert LOADS == []
        assert await desk.index() == {"m/": "NEW", "unreadable/": "NEW"}
        assert desk.engine.ready
        with pytest.raises(NotFound, match="unknown model"):
            await desk.ask()

    explicit(scenario, models)


def test_the_operators_list_is_loaded_and_awaited(models):
    for name in ("a", "b", "c"):
        write(models, f"{name}/1")

    async def scenario(desk):
        assert await desk.index() == {
            "a/1": "READY",
            "b/": "NEW",
            "c/1": "READY",
            "d/": "FAILED there is no model 'd' in the repository",
        }
        assert not desk.engine.ready
        write(models, "d/1", 4)
        await desk.control.load("d")
        assert desk.engine.ready
        assert (await desk.index())["d/1"] == "READY"

    explicit(scenario, models, load_model=("a", "c", "d"))


def test_a_star_is_everything(models):
    write(models, "a/1")
    write(models, "b/1", broken=BROKEN)

    async def scenario(desk):
        index = await desk.index()
        assert index["a/1"] == "READY"
        assert index["b/1"].startswith(f"FAILED {MARK}")
        assert not desk.engine.ready

    explicit(scenario, models, load_model=("*",))


# loading


def test_a_model_is_loaded_as_the_repository_has_it(models):
    write(models)
    describe(models, "versions = 'all'\nmax_batch = 3")

    async def scenario(desk):
        await desk.control.load("m")
        write(models, "m/2", 2)
        assert await desk.ask() == 1
        await desk.control.load("m")
        assert (await desk.ask(), await desk.ask(version="1")) == (2, 1)
        assert desk.engine.find("m").settings.max_batch == 3

    explicit(scenario, models)


def test_loading_what_has_not_changed_does_nothing(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        before = desk.engine.find("m")
        (models / "m/1/model.py").touch()
        await desk.control.load("m")
        assert desk.engine.find("m") is before
        write(models, answer=2)
        await desk.control.load("m")
        assert await desk.ask() == 2
        assert LOADS == [1, 2]

    explicit(scenario, models)


def test_the_version_policy_says_what_goes_and_it_goes_last(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        opened = gate("loading")
        write(models, "m/2", 2, loading="loading")
        loading = asyncio.create_task(desk.control.load("m"))
        while 2 not in LOADS:
            await asyncio.sleep(0)
        assert await desk.ask() == 1
        opened.set()
        await loading
        assert await desk.ask() == 2
        with pytest.raises(NotFound, match="version 1 is not found"):
            desk.engine.find("m", "1")
        await desk.engine.lifecycle.drained()
        assert await desk.index() == {"m/2": "READY"}

    explicit(scenario, models)


def test_what_fails_leaves_what_serves_and_says_why(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        write(models, "m/2", 2, broken=BROKEN)
        with pytest.raises(VersionsFailed) as caught:
            await desk.control.load("m")
        assert caught.value.reasons["2"].startswith(f"{MARK}:12: ValueError: broken")
        assert await desk.ask() == 1
        assert desk.engine.ready
        index = await desk.index()
        assert index["m/1"] == "READY"
        assert index["m/2"].startswith("FAILED")
        write(models, "m/2", 2)
        await desk.control.load("m")
        assert await desk.ask() == 2

    explicit(scenario, models)


def test_a_version_that_can_not_be_replaced_goes_on(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        write(models, answer=2, broken=BROKEN)
        for _ in range(2):  # trying again is trying again
            with pytest.raises(VersionsFailed):
                await desk.control.load("m")
            assert await desk.ask() == 1
        assert LOADS == [1, 2, 2]
        write(models)
        await desk.control.load("m")
        assert await desk.ask() == 1
        assert LOADS == [1, 2, 2]  # what is loaded is what is there again

    explicit(scenario, models)


def test_a_model_that_can_not_be_read_goes_on_as_it_was(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        describe(models, "max_batch = 'x'")
        with pytest.raises(Unreadable, match="max_batch must be a whole number"):
            await desk.control.load("m")
        assert await desk.ask() == 1
        describe(models, "versions = 'specific:7'")
        with pytest.raises(NoVersion, match="version 7 is wanted and not there"):
            await desk.control.load("m")
        assert await desk.ask() == 1
        describe(models, "")
        await desk.control.load("m")
        assert await desk.index() == {"m/1": "READY"}

    explicit(scenario, models)


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", "", " ", "a" * 4096, "a\0", "a\n", "\u202ea", "%2e%2e", "~"]
)
def test_what_can_not_be_a_name_is_none(models, name):
    async def scenario(desk):
        for change in (desk.control.load(name), desk.control.load(name, Overrides("{}", {"1/x": b""}))):
            with pytest.raises(InvalidInput, match="can't be a model's name"):
                await change
        with pytest.raises(InvalidInput, match="can't be a model's name"):
            await desk.control.unload(name)

    explicit(scenario, models)


def test_a_model_that_is_not_there_is_not_found(models):
    async def scenario(desk):
        with pytest.raises(NotFound, match=r"no model 'nope' in the repository"):
            await desk.control.load("nope")
        assert await desk.index() == {}

    explicit(scenario, models)


# many at once


async def eight_loads(desk):
    """Eight that ask for a model, when all of them have seen what there is and one of them loads it."""
    looks, look = [], desk.repository.look

    def counting():
        looks.append(1)
        return look()

    desk.repository.look = counting
    loads = [asyncio.create_task(desk.control.load("m")) for _ in range(8)]
    while len(looks) < 8 or LOADS != [1]:
        await asyncio.sleep(0)
    await desk.control.index()  # a look after theirs
    return loads


def test_of_eight_that_want_the_same_one_loads_and_the_others_wait(models):
    opened = gate("loading")
    write(models, loading="loading")

    async def scenario(desk):
        loads = await eight_loads(desk)
        loads[0].cancel()
        opened.set()
        done = await asyncio.gather(*loads, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [None] * 7
        assert LOADS == [1]

    explicit(scenario, models)


def test_so_they_do_when_it_fails(models):
    opened = gate("loading")
    write(models, loading="loading", broken=BROKEN)

    async def scenario(desk):
        loads = await eight_loads(desk)
        opened.set()
        done = await asyncio.gather(*loads, return_exceptions=True)
        assert {type(error) for error in done} == {VersionsFailed}
        assert LOADS == [1]

    explicit(scenario, models)


def test_who_asks_after_a_change_does_not_wait_for_a_load_from_before_it(models):
    opened = gate("loading")
    write(models, loading="loading")

    async def scenario(desk):
        first = asyncio.create_task(desk.control.load("m"))
        while LOADS != [1]:
            await asyncio.sleep(0)
        write(models, answer=2)
        second = asyncio.create_task(desk.control.load("m"))
        opened.set()
        await asyncio.gather(first, second)
        assert await desk.ask() == 2
        assert LOADS == [1, 2]

    explicit(scenario, models)


# unloading


def test_unloading_answers_what_was_accepted_and_does_not_wait_for_it(models):
    opened = gate("answering")
    write(models, answering="answering")

    async def scenario(desk):
        await desk.control.load("m")
        asked = asyncio.create_task(desk.ask())
        await asyncio.sleep(0)
        await desk.control.unload("m")
        with pytest.raises(NotFound, match="'m' has no available versions"):
            await desk.ask()
        assert await desk.index() == {"m/1": "DRAINING"}
        opened.set()
        assert await asked == 1
        await desk.engine.lifecycle.drained()
        assert await desk.index() == {"m/1": "UNLOADED"}
        await desk.control.load("m")
        assert await desk.index() == {"m/1": "READY"}

    explicit(scenario, models)


def test_unloading_what_is_not_loaded_is_done(models):
    async def scenario(desk):
        await desk.control.unload("nope")
        assert await desk.index() == {}
        assert not desk.engine.registry.knows("nope")

    explicit(scenario, models)


def test_unloading_waits_for_a_load(models):
    opened = gate("loading")
    write(models, loading="loading")

    async def scenario(desk):
        loading = asyncio.create_task(desk.control.load("m"))
        while LOADS != [1]:
            await asyncio.sleep(0)
        unloading = asyncio.create_task(desk.control.unload("m"))
        opened.set()
        await asyncio.gather(loading, unloading)
        await desk.engine.lifecycle.drained()
        assert await desk.index() == {"m/1": "UNLOADED"}

    explicit(scenario, models)


def test_those_that_need_a_model_go_with_it_on_request(models):
    needs = {"step": ["pipeline", "other"], "pipeline": ["pipelines"], "pipelines": ["pipeline"]}
    for name in ("step", "pipeline", "pipelines", "other", "alone"):
        write(models, f"{name}/1")

    async def scenario(desk):
        async def ready():
            await desk.engine.lifecycle.drained()
            return {
                name.removesuffix("/1") for name, state in (await desk.index()).items() if state == "READY"
            }

        await desk.control.unload("pipelines")
        assert await ready() == {"step", "pipeline", "other", "alone"}
        await desk.control.load("pipelines")
        await desk.control.unload("step", dependents=True)
        assert await ready() == {"alone"}

    explicit(scenario, models, load_model=("*",), dependents=lambda name: needs.get(name, ()))


def test_what_has_gone_from_the_repository_is_forgotten_once_it_is_unloaded(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        (models / "m/1/model.py").unlink()
        (models / "m/1").rmdir()
        (models / "m").rmdir()
        assert await desk.index() == {"m/1": "READY"}
        with pytest.raises(NotFound):
            await desk.control.load("m")
        assert await desk.ask() == 1
        await desk.control.unload("m")
        await desk.engine.lifecycle.drained()
        assert await desk.index() == {}

    explicit(scenario, models)


# other configurations, other files


def test_another_configuration_has_the_last_word_until_the_next_load(models, caplog):
    write(models)
    describe(models, "queue_size = 5")
    config = {"max_batch_size": 4, "instance_group": [{"count": 2, "profile": ["x"]}]}

    async def scenario(desk):
        await desk.control.load("m", Overrides(json.dumps(config)))
        model = desk.engine.find("m")
        assert (model.settings.max_batch, model.instances, model.settings.queue_size) == (4, 2, 5)
        await desk.control.load("m", Overrides(json.dumps(config)))
        assert desk.engine.find("m") is model
        await desk.control.load("m")
        assert desk.engine.find("m").settings.max_batch == 0
        for text in ("{bad", '{"zzz": 1}', '{"name": "other"}', '{"max_batch_size": -1}'):
            with pytest.raises(Unreadable):
                await desk.control.load("m", Overrides(text))
        with pytest.raises(NotFound):
            await desk.control.load("nope", Overrides("{}"))
        assert await desk.ask() == 1

    explicit(scenario, models)
    told = [record for record in caplog.records if "no effect" in record.message]
    assert {(record.field, record.instead) for record in told} == {
        ("instance_group[].profile", "instances run as the runtime does by default")
    }


def upload(answer=5, **files):
    text = MODEL.format(answer=answer, loading="", answering="", broken="pass")
    return Overrides('{"backend": "python"}', {"1/model.py": text.encode(), **files})


def kept(cache):
    return [path for path in cache.rglob("*") if path.is_file() and path.name != "uploads.lock"]


def test_files_that_came_are_the_model_until_it_is_unloaded(models, cache):
    write(models)
    before = sorted(models.rglob("*"))

    async def scenario(desk):
        await desk.control.load("m")
        await desk.control.load("m", upload())
        assert await desk.ask() == 5
        assert len(kept(cache)) == 1
        await desk.control.load("m", upload(6))
        assert await desk.ask() == 6
        await desk.engine.lifecycle.drained()
        await desk.control._follower.stop()
        assert len(kept(cache)) == 1
        await desk.control.load("m")
        assert await desk.ask() == 1
        await desk.control.load("new", upload(7))
        assert await desk.ask("new") == 7
        assert (await desk.index())["new/1"] == "READY"
        await desk.control.unload("new")
        await desk.engine.lifecycle.drained()
        await desk.control._follower.stop()
        assert kept(cache) == []
        assert await desk.index() == {"m/1": "READY"}
        assert sorted(models.rglob("*")) == before

    explicit(scenario, models, trust_uploads=True)
    assert list(cache.glob(f"{PREFIX}*")) == []


@pytest.mark.parametrize(
    ("overrides", "error", "reason"),
    [
        (Overrides("", {"1/model.py": b""}), Unreadable, "need a configuration"),
        (Overrides("{bad", {"1/model.py": b""}), Unreadable, "not JSON"),
        (Overrides("{}", {"../x": b""}), Unreadable, "no path of a file"),
        (Overrides("{}", {"1": b"", "1/x": b""}), Unreadable, "can't both be there"),
        (Overrides("{}", {"1/x": b""}), NoVersion, "no model file"),
        (Overrides('{"name": "n"}', {"1/model.py": b""}), Unreadable, "that of model 'n'"),
        (
            Overrides('{"version_policy": {"specific": {"versions": [2]}}}', upload().files),
            NoVersion,
            "version 2",
        ),
        (Overrides("{}", {"1/model.py": b"1 +"}), VersionsFailed, "SyntaxError"),
        (Overrides("{}", {"1/model.onnx": b"not really"}), VersionsFailed, "can't load model.onnx"),
        (Overrides("{}", {f"1/{n}": b"" for n in range(1001)}), TooLarge, "1000 files"),
    ],
)
def test_files_that_are_no_model_leave_nothing(models, cache, overrides, error, reason):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        with pytest.raises(error, match=reason):
            await desk.control.load("m", overrides)
        assert await desk.ask() == 1
        await desk.control._follower.stop()
        assert kept(cache) == []

    explicit(scenario, models, trust_uploads=True)


def test_code_that_came_runs_only_where_the_operator_trusts_it(models, cache):
    async def scenario(desk):
        with pytest.raises(VersionsFailed, match="isn't trusted to run code"):
            await desk.control.load("m", upload())
        assert LOADS == []
        await desk.control._follower.stop()
        assert kept(cache) == []

    explicit(scenario, models)


def test_a_model_toml_that_came_is_not_read(models):
    async def scenario(desk):
        files = {"model.toml": b"max_batch = 7\nentry = 'os:system'"}
        await desk.control.load("m", upload(**files))
        assert desk.engine.find("m").settings.max_batch == 0

    explicit(scenario, models, trust_uploads=True)


# what a ledger remembers


def test_a_restart_serves_the_same_versions_with_the_same_defaults_and_scale(models):
    ledger = MemoryLedger()
    write(models)
    write(models, "b/1", 10)
    describe(models, "versions = 'all'")

    async def before(desk):
        await desk.control.load("m", who="somebody")
        write(models, "m/2", 2)
        await desk.control.load("m", who="somebody")
        await desk.manager.set_default("m", "1")
        await desk.manager.scale("m", "2", 2, 3)
        await desk.control.load("b", Overrides('{"max_batch_size": 3}'))
        assert ledger.who[:2] == ["somebody", "somebody"]

    explicit(before, models, ledger=ledger)
    write(models, "m/3", 3)
    write(models, "c/1", 20)
    wanted = dict(ledger.desired)

    async def after(desk):
        assert await desk.ask() == 1
        assert desk.engine.registry.versions("m") == ["1", "2"]
        assert desk.engine.find("m", "2").instances == 2
        assert desk.engine.find("m", "2").settings.max_instances == 3
        assert desk.engine.find("b").settings.max_batch == 3
        assert (await desk.index())["c/"] == "NEW"
        assert ledger.desired == wanted
        await desk.control.load("m")
        assert desk.engine.registry.versions("m") == ["1", "2", "3"]
        assert await desk.ask() == 1
        await desk.control.unload("m")
        assert ledger.desired.keys() == {"b"}
        await desk.control.load("m")
        assert await desk.ask() == 3

    explicit(after, models, ledger=ledger)


def test_a_restart_serves_what_was_wanted_though_the_folder_has_newer_versions(models):
    ledger = MemoryLedger()
    write(models)

    async def before(desk):
        await desk.control.load("m")

    explicit(before, models, ledger=ledger)
    write(models, "m/2", 2)

    async def after(desk):
        assert await desk.ask() == 1
        await desk.control.load("m")
        assert await desk.ask() == 2

    explicit(after, models, ledger=ledger)


def test_what_is_wanted_and_gone_is_told_of_and_still_wanted(models):
    ledger = MemoryLedger()
    write(models)

    async def before(desk):
        await desk.control.load("m")

    explicit(before, models, ledger=ledger)
    (models / "m").rename(models.parent / "moved")

    async def without(desk):
        assert await desk.index() == {"m/": "FAILED there is no model 'm' in the repository"}
        assert not desk.engine.ready

    explicit(without, models, ledger=ledger)
    (models.parent / "moved").rename(models / "m")

    async def again(desk):
        assert await desk.ask() == 1
        assert desk.engine.ready

    explicit(again, models, ledger=ledger)


def test_what_came_with_a_request_is_not_there_after_a_restart(models, caplog):
    ledger = MemoryLedger()

    async def before(desk):
        await desk.control.load("m", upload())

    explicit(before, models, ledger=ledger, trust_uploads=True)
    assert ledger.desired.keys() == {"m"}

    async def after(desk):
        assert await desk.index() == {}
        assert desk.engine.ready

    explicit(after, models, ledger=ledger)
    assert ledger.desired == {}
    assert "a model came with a request and was not kept" in caplog.messages


def test_a_change_that_can_not_be_written_down_does_not_happen(models):
    ledger = MemoryLedger()
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        write(models, "m/2", 2)
        ledger.error = StorageFailed("the disk is full")
        with pytest.raises(StorageFailed):
            await desk.control.load("m")
        assert await desk.ask() == 1
        ledger.error = None
        await desk.control.load("m")
        assert await desk.ask() == 2

    explicit(scenario, models, ledger=ledger)


def test_a_version_that_somebody_has_chosen_is_not_unloaded_for_a_newer_one(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        await desk.manager.set_default("m", "1")
        write(models, "m/2", 2)
        await desk.control.load("m")
        assert await desk.ask() == 1
        assert desk.engine.registry.versions("m") == ["1", "2"]
        await desk.manager.set_default("m", "")
        assert await desk.ask() == 2
        await desk.control.load("m")
        assert desk.engine.registry.versions("m") == ["2"]

    explicit(scenario, models)


def test_a_model_that_is_loaded_again_starts_with_no_default_of_before(models):
    write(models)

    async def scenario(desk):
        await desk.control.load("m")
        await desk.manager.set_default("m", "1")
        await desk.control.unload("m")
        write(models, "m/2", 2)
        await desk.control.load("m")
        assert await desk.ask() == 2

    explicit(scenario, models)


def test_models_of_another_kind_in_the_ledger_are_left_alone(models):
    from dragoman.engine.manager import Desired, Wanted

    ledger = MemoryLedger()
    ledger.desired["other"] = Desired("other", {"1.0": Wanted("1.0", {"url": "other.mar"})})

    async def scenario(desk: Desk):
        assert await desk.index() == {}
        assert ledger.desired.keys() == {"other"}
        assert desk.engine.lifecycle.records == {}
        assert State.FAILED not in {record.state for record in desk.engine.index()}

    explicit(scenario, models, ledger=ledger)


def test_the_default_before_a_load_can_be_gone_back_to(models):
    write(models)
    describe(models, "versions = 'latest:2'")

    async def scenario(desk):
        await desk.control.load("m")
        for version in (2, 3):
            write(models, f"m/{version}", version)
            await desk.control.load("m")
        assert await desk.ask() == 3
        assert await desk.manager.roll_back("m") == "2"
        assert await desk.ask() == 2
        write(models, "m/4", 4)
        await desk.control.load("m")
        assert await desk.ask() == 2  # who has gone back stays there until somebody says otherwise
        with pytest.raises(Conflict, match="no earlier default that is still loaded"):
            await desk.manager.roll_back("m")

    explicit(scenario, models)


def test_unloading_a_model_that_failed_at_the_start_makes_the_server_ready(models):
    write(models, broken=BROKEN)
    describe(models, "max_batch = 'x'", "unreadable")

    async def scenario(desk):
        assert not desk.engine.ready
        for name in ("m", "unreadable"):
            await desk.control.unload(name)
        assert desk.engine.ready
        assert await desk.index() == {"m/1": "UNLOADED", "unreadable/": "UNLOADED"}

    explicit(scenario, models, load_model=("*",))
