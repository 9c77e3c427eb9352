"""One Ray cluster for all tests of this folder, and one server whose models live in it."""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dragoman.config import ModelSettings, ServerSettings, Settings
from dragoman.testing import TestClient
from tests.profiles.archives import write_archive
from tests.ray.models import HANDLER, MODELS, SETTINGS

#: Seconds that anything may take on a machine under load.
PATIENCE = 120.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("ray") is None
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.ray)
        item.add_marker(pytest.mark.filterwarnings("default"))  # Ray's own warnings are no failures of ours
        if missing and not os.environ.get("RAY"):
            item.add_marker(pytest.mark.skip("Ray is not installed: make test RAY=1 brings it"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of models that say themselves that they run in the cluster."""
    folder = tmp_path_factory.mktemp("far")
    for name, source in MODELS.items():
        (folder / name).mkdir()
        (folder / name / "model.py").write_text(source)
        (folder / name / "model.toml").write_text(SETTINGS.get(name, ""))
    write_archive(folder, "words", HANDLER)
    return folder


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[TestClient]:
    models = ModelSettings(execution="ray", replica_cpus=0.05, load_timeout=PATIENCE)
    settings = Settings(models=models, server=ServerSettings(control="explicit", load_model=("*",)))
    with TestClient(str(folder), settings=settings) as client:
        yield client


def until(true: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.02)
