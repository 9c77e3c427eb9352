import json
import logging

import pytest

from dragoman.errors import RelativePath, SourceNotFound
from dragoman.profiles.torchserve.obtaining import open_here, sources_of
from dragoman.profiles.torchserve.settings import read
from dragoman.profiles.torchserve.store import find_models, register
from dragoman.protocols.torchserve.management import Registration
from tests.profiles.archives import write_archive


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def store(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    return store


def configure(store, **values):
    return read({"model_store": str(store), "default_workers_per_model": "1", **values}, store)


def names(models):
    return [(model.source.name, model.source.version, model.url) for model in models]


def test_archives_are_found_by_name_in_the_store(store):
    write_archive(store, "echo")
    write_archive(store, "other", version="2.1")
    configuration = configure(store, load_models="echo.mar,mine=other.mar,missing.mar")
    assert names(find_models(configuration)) == [("echo", "1.0", "echo.mar"), ("mine", "2.1", "other.mar")]


def test_all_takes_every_archive_and_leaves_out_the_rest(store, caplog):
    write_archive(store, "echo")
    (store / "notes.txt").write_text("no model")
    (store / ".hidden.mar").write_text("no model")
    (store / "broken.mar").write_text("no model")
    (store / "unpacked" / "MAR-INF").mkdir(parents=True)
    manifest = {"model": {"modelName": "unpacked", "handler": "x.py", "modelVersion": "1.0"}}
    (store / "unpacked" / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    for text in ("all", "ALL"):
        found = find_models(configure(store, load_models=text))
        assert names(found) == [("echo", "1.0", "echo.mar"), ("unpacked", "1.0", "unpacked")]
    left_out = {record.location for record in caplog.records if "left out" in record.message}
    assert left_out == {"notes.txt", "broken.mar"}


def test_a_version_that_is_there_twice_is_taken_once(store, caplog):
    write_archive(store, "echo")
    write_archive(store, "echo", file="again.mar")
    caplog.set_level(logging.ERROR)
    assert names(find_models(configure(store, load_models="echo.mar,again.mar"))) == [
        ("echo", "1.0", "echo.mar")
    ]
    assert "version 1.0 of echo is there already" in caplog.records[0].reason


def test_the_archives_yaml_and_the_configuration_settle_how_it_is_served(store):
    write_archive(store, "echo", yaml="minWorkers: 2\nmaxWorkers: 3\nbatchSize: 4\nmaxBatchDelay: 20\n")
    write_archive(store, "plain")
    tables = {"plain": {"1.0": {"minWorkers": 3, "maxWorkers": 3, "batchSize": 6, "responseTimeout": 7}}}
    configuration = configure(
        store, load_models="all", models=json.dumps(tables), default_response_timeout="9"
    )
    echo, plain = find_models(configuration)
    assert echo.source.settings.instances == 2
    assert echo.source.settings.max_batch == 4
    assert echo.source.settings.max_delay == 0.02
    assert echo.source.settings.response_timeout == 120.0
    assert plain.source.settings.instances == 3
    assert plain.source.settings.response_timeout == 7.0
    assert (plain.serving.batch_size, plain.source.options["batch_size"]) == (6, 6)


def test_the_runtime_is_told_of_the_configuration(store):
    write_archive(store, "echo")
    (model,) = find_models(
        configure(store, load_models="all", decode_input_request="false", service_envelope="kserve")
    )
    assert model.source.settings.runtime == "torchserve"
    assert model.source.options["decode_input_request"] is False
    assert model.source.options["limit_max_image_pixels"] is True
    assert model.source.options["envelope"] == "kserve"
    assert model.source.trusted


def test_a_request_registers_with_its_own_word(store):
    write_archive(store, "echo")
    configuration = configure(store)
    obtained = open_here(sources_of(configuration), "echo.mar")
    asked = Registration(initial_workers=2, batch_size=3, model_name="mine", runtime="Python3")
    model = register(configuration, obtained, asked=asked)
    assert model.key == ("mine", "1.0")
    assert model.source.settings.instances == 2
    assert model.source.settings.max_batch == 3
    assert model.runtime == "python3"
    assert len(model.digest) == 64
    assert model.brought is None


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("nosuch.mar", SourceNotFound),
        ("../echo.mar", RelativePath),
        ("a/../../echo.mar", RelativePath),
    ],
)
def test_locations_that_are_refused(store, location, error):
    write_archive(store, "echo")
    with pytest.raises(error):
        open_here(sources_of(configure(store)), location)


def test_a_path_is_its_name_in_the_store_and_a_folder_is_taken_anywhere(store, tmp_path):
    archive = write_archive(store, "echo")
    sources = sources_of(configure(store))
    assert open_here(sources, "some/where/echo.mar").path == archive
    (tmp_path / "elsewhere").mkdir()
    assert open_here(sources, str(tmp_path / "elsewhere")).path == tmp_path / "elsewhere"


def test_a_start_up_list_may_have_urls_and_a_file_is_fetched_once(store, tmp_path, caplog):
    (tmp_path / "away").mkdir()
    far = write_archive(tmp_path / "away", "echo")
    configuration = configure(store, load_models=f"mine=file://{far}")
    for _ in range(2):
        (model,) = find_models(configuration)
        assert (model.key, model.url) == (("mine", "1.0"), f"file://{far}")
        assert model.path == model.brought == store / "echo.mar"
    assert (store / "echo.mar").read_bytes() == far.read_bytes()
    (store / "echo.mar").unlink()
    assert find_models(configure(store, load_models=f"file://{far}", allowed_urls="https://.*")) == []
    assert "does not match any allowed URL(s)" in caplog.records[-1].reason
    assert list(store.iterdir()) == []
