"""Recorded exchanges of the management API, replayed in their order to ``dragoman torchserve``."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.exchange import DIFFERENCES, read_cases
from tests.conformance.torchserve import handlers
from tests.conformance.torchserve.scenarios import replay
from tests.profiles.running import serving

FOLDER = Path(__file__).parent / "scenarios"
CASES = read_cases(FOLDER)


def scenario(name: str) -> list:
    found = [case for case in CASES if case.file == name]
    assert found
    return found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = tmp_path / "store"
    write: Callable[..., str] = handlers.write_archive
    write(store, "echo", handlers.COUNTS)
    write(tmp_path / "other", "echo", handlers.COUNTS, modelVersion="2.0")
    (tmp_path / "other" / "echo.mar").rename(store / "echo_v2.mar")
    for name, code in (
        ("ret", handlers.RESULTS),
        ("batch", handlers.COUNTS),
        ("describe", handlers.DESCRIBES),
        ("initfail", handlers.FAILS),
    ):
        write(store, name, code)
    yaml = "minWorkers: 1\nmaxWorkers: 2\nbatchSize: 4\nmaxBatchDelay: 200\ndeviceType: cpu\n"
    write(store, "echo_yaml", handlers.COUNTS, yaml=yaml)
    (store / "corrupt.mar").write_text("not a zip\n")
    (store / "sub").mkdir()
    write(store / "sub", "ret2", handlers.RESULTS)
    handlers.write_folder(store / "echo_dir", "echo_dir", handlers.COUNTS)
    handlers.write_folder(tmp_path / "other" / "echo_tgz", "echo_tgz", handlers.COUNTS)
    with tarfile.open(store / "echo_tgz.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "other" / "echo_tgz", "echo_tgz")
    handlers.write_without_manifest(store / "nomanifest.mar", handlers.COUNTS)
    return store


def test_the_management_api(store):
    tables = {"echo": {"1.0": {"minWorkers": 2, "maxWorkers": 2}}}
    said = {"load_models": "echo.mar", "models": json.dumps(tables), "default_workers_per_model": None}
    with serving(
        store.parent, disable_token_authorization="true", enable_model_api="true", **said
    ) as running:
        found = replay(running, scenario("management"))
        assert not found, "\n".join(found)


def test_workflows(store):
    handlers.write_archive(store, "length", handlers.LENGTH)
    handlers.write_workflow(store, "flow", handlers.FLOW, handlers.STEPS)
    said = {"load_models": None, "default_workers_per_model": None}
    with serving(
        store.parent, disable_token_authorization="true", enable_model_api="true", **said
    ) as running:
        found = replay(running, scenario("workflows"))
        assert not found, "\n".join(found)


def test_what_is_left_when_the_model_api_is_off(store):
    with serving(store.parent, load_models="echo.mar") as running:
        found = replay(running, scenario("switched_off"))
        assert not found, "\n".join(found)


def test_a_case_that_differs_says_what_and_why():
    for case in CASES:
        assert bool(case.ours) == bool(case.rows), case.id
        assert case.ours.keys() <= DIFFERENCES
        assert not [key for key, value in case.ours.items() if case.original.get(key) == value], case.id
