"""A server comes back with the models it had, from the newest file in ``logs/config``."""

import json
import os
import re
from dataclasses import replace

import pytest

from dragoman.engine.desired import Desired, Wanted
from dragoman.errors import StorageFailed
from dragoman.profiles.torchserve import properties, snapshots
from dragoman.profiles.torchserve.settings import CommandLine, load
from dragoman.profiles.torchserve.snapshots import Snapshots
from tests.conformance.torchserve import handlers
from tests.profiles.archives import BROKEN, write_archive
from tests.profiles.running import INFERENCE, MANAGEMENT, serving

DOCUMENT = {
    "url": "https://models.example/m.mar",
    "digest": "",
    "runtimeType": "python",
    "batchSize": 4,
    "maxBatchDelay": 20,
    "responseTimeout": 7,
    "startupTimeout": 8,
}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "store").mkdir()
    return tmp_path


def managed(directory, **values):
    said = {"load_models": "echo.mar", "disable_token_authorization": "true", "enable_model_api": "true"}
    return serving(directory, **{**said, **values})


def files(directory):
    return sorted((directory / "logs" / "config").iterdir())


def kinds(directory):
    return [re.fullmatch(r"\d{17}-(\w+)\.cfg", file.name)[1] for file in files(directory)]


def models(file):
    return json.loads(properties.parse(file.read_text())["model_snapshot"])["models"]


def desired(name="m", **versions):
    return Desired(
        name, {version: Wanted(version, {**DOCUMENT, **more}) for version, more in versions.items()}
    )


def test_a_file_is_written_at_the_start_with_every_change_and_in_the_end(directory):
    write_archive(directory / "store", "echo")
    write_archive(directory / "store", "echo", version="2.0", file="echo2.mar")
    write_archive(directory / "store", "broken", BROKEN)
    with managed(directory) as running:
        assert kinds(directory) == ["startup"]
        ask = lambda method, path: running.ask(MANAGEMENT, path, method).status  # noqa: E731
        assert ask("POST", "/models?url=broken.mar&initial_workers=1") == 500
        assert ask("PUT", "/models/echo/3.0/set-default") == 404
        assert ask("GET", "/models") == 200
        assert kinds(directory) == ["startup"]
        assert ask("POST", "/models?url=echo2.mar&initial_workers=0&batch_size=3") == 200
        assert ask("PUT", "/models/echo/2.0/set-default") == 200
        assert ask("PUT", "/models/echo/1.0?min_worker=1&max_worker=2&synchronous=true") == 200
        assert ask("POST", "/models?url=echo.mar&model_name=gone&initial_workers=0") == 200
        assert ask("DELETE", "/models/gone") == 200
    assert kinds(directory) == ["startup", *["snapshot"] * 5, "shutdown"]
    assert [len(models(file)) for file in files(directory)] == [1, 1, 1, 1, 2, 1, 1]
    (first, second) = models(files(directory)[-1])["echo"].values()
    assert (first["minWorkers"], first["maxWorkers"], first["defaultVersion"]) == (1, 2, False)
    assert (second["minWorkers"], second["batchSize"], second["marName"]) == (0, 3, "echo2.mar")
    assert {file.stat().st_mode & 0o777 for file in files(directory)} == {0o600}


def test_a_server_comes_back_with_the_models_it_had(directory):
    write_archive(directory / "store", "echo", yaml="minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 60\n")
    write_archive(directory / "store", "echo", version="2.0", file="echo2.mar")
    with managed(directory) as running:
        ask = lambda method, path: running.ask(MANAGEMENT, path, method).status  # noqa: E731
        numbers = "initial_workers=0&batch_size=3&max_batch_delay=0&response_timeout=9"
        assert ask("POST", f"/models?url=echo2.mar&runtime=python3&{numbers}") == 200
        assert ask("PUT", "/models/echo/2.0/set-default") == 200
        assert ask("PUT", "/models/echo/1.0?min_worker=2&synchronous=true") == 200
        assert ask("POST", "/models?url=echo2.mar&model_name=other&initial_workers=1") == 200
        before = [running.ask(MANAGEMENT, f"/models/{name}/all").json for name in ("echo", "other")]
        listed = running.ask(MANAGEMENT, "/models").json
    configuration = load(CommandLine(), {}, directory)
    assert configuration.file == str(files(directory)[-1])
    with serving(directory, configuration) as running:
        after = [running.ask(MANAGEMENT, f"/models/{name}/all").json for name in ("echo", "other")]
        for document in [entry for list_ in (*before, *after) for entry in list_]:
            document["workers"] = len(document["workers"])
            document["loadedAtStartup"] = True
        assert after == before
        assert running.ask(MANAGEMENT, "/models").json == listed
        assert running.ask(INFERENCE, "/predictions/echo", "POST", body=b"x").status == 503
        assert running.ask(INFERENCE, "/predictions/echo/1.0", "POST", body=b"x").status == 200
    assert models(files(directory)[-1]) == models(files(directory)[-4])


def test_without_snapshots_nothing_is_written_or_read(directory):
    write_archive(directory / "store", "echo")
    line = CommandLine(model_store="store", no_config_snapshots=True, models=("echo.mar",))
    (directory / "config.properties").write_text(
        "".join(f"{name}_address=http://127.0.0.1:0\n" for name in ("inference", "management", "metrics"))
        + "default_workers_per_model=1\ndisable_token_authorization=true\n"
    )
    with serving(directory, load(line, {}, directory)) as running:
        assert running.ask(MANAGEMENT, "/models/echo?min_worker=2&synchronous=true", "PUT").status == 200
    assert not (directory / "logs" / "config").exists()


def test_where_logs_lie_snapshots_lie(directory):
    write_archive(directory / "store", "echo")
    configuration = load(CommandLine(model_store="store"), {"LOG_LOCATION": "elsewhere"}, directory)
    assert configuration.snapshot_folder == directory / "elsewhere" / "config"


def test_workflows_are_in_no_snapshot(directory):
    write_archive(directory / "store", "echo")
    handlers.write_archive(directory / "store", "length", handlers.LENGTH)
    handlers.write_workflow(directory / "store", "flow", handlers.FLOW, handlers.STEPS)
    with managed(directory) as running:
        assert running.ask(MANAGEMENT, "/workflows?url=flow.war", "POST").status == 200
    assert kinds(directory) == ["startup", "shutdown"]
    assert list(models(files(directory)[-1])) == ["echo"]


def test_a_change_that_can_not_be_written_down_is_not_made(directory, monkeypatch):
    # row: snapshots-first
    write_archive(directory / "store", "echo")
    with managed(directory) as running:

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(snapshots, "write_private", full)
            for method, path in (
                ("PUT", "/models/echo?min_worker=2&synchronous=true"),
                ("POST", "/models?url=echo.mar&model_name=more&initial_workers=1"),
                ("DELETE", "/models/echo"),
            ):
                answer = running.ask(MANAGEMENT, path, method)
                assert (answer.status, answer.json["type"]) == (507, "InternalServerException")
                assert str(directory) not in answer.json["message"]
        assert [model["modelName"] for model in running.ask(MANAGEMENT, "/models").json["models"]] == ["echo"]
        assert len(running.ask(MANAGEMENT, "/models/echo").json[0]["workers"]) == 1
        assert running.ask(INFERENCE, "/predictions/echo", "POST", body=b"x").status == 200
    assert kinds(directory) == ["startup", "shutdown"]


def test_where_nothing_can_be_written_a_server_starts_all_the_same(directory, caplog):
    write_archive(directory / "store", "echo")
    (directory / "logs").write_text("a file")
    with managed(directory) as running:
        assert running.ask(MANAGEMENT, "/models/echo?min_worker=2&synchronous=true", "PUT").status == 200
        assert any("forgotten" in record.message for record in caplog.records)


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    ledger = Snapshots(tmp_path, {"a": "b"})
    ledger.start({})

    def breaks(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", breaks)
    with pytest.raises(StorageFailed, match="Input/output error"):
        ledger.write(desired(v={}), "load v", "ann")
    assert [file.name.rpartition("-")[2] for file in tmp_path.iterdir()] == ["startup.cfg"]
    monkeypatch.undo()
    ledger.write(desired(v={}), "load v", "ann")
    assert list(models(sorted(tmp_path.iterdir())[-1])) == ["m"]


def test_names_sort_as_the_files_were_written(tmp_path):
    ledger = Snapshots(tmp_path, {})
    ledger.start({})
    for number in range(20):  # within one millisecond or two
        ledger.write(desired(v={"batchSize": number + 1}), "", "")
    ledger.erase("m", "")
    ledger.stop()
    written = sorted(tmp_path.iterdir())
    assert len(written) == 23
    sizes = [entry["m"]["v"]["batchSize"] if (entry := models(file)) else 0 for file in written]
    assert sizes == [0, *range(1, 21), 0, 0]


def test_what_does_not_change_is_not_written_again(tmp_path):
    ledger = Snapshots(tmp_path, {})
    ledger.write(desired(v={}), "before the start", "")
    assert list(tmp_path.iterdir()) == []
    ledger.start({"m": desired(v={})})
    ledger.write(desired(v={}), "", "")
    ledger.write(desired("flow__m", v={"partOf": "flow"}), "", "")
    ledger.erase("flow__m", "")
    assert len(list(tmp_path.iterdir())) == 1
    ledger.write(replace(desired(v={}, w={}), default="w"), "", "")
    (newest,) = models(sorted(tmp_path.iterdir())[-1]).values()
    assert {version: table["defaultVersion"] for version, table in newest.items()} == {"v": False, "w": True}
    assert newest["v"]["marName"] == "m.mar"
