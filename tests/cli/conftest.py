"""A folder of models, and one server of them for all tests that only ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import MODELS, Server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(MODELS)
    return tmp_path


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "app.py").write_text(MODELS)
    with Server(folder, "app.py:Sum", "app:Double", "app.py:Shout", "app.py:Broken") as running:
        yield running
