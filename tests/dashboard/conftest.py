"""Servers that the page is tried with, and how a test gets to a view."""

from pathlib import Path

import pytest

from dragoman.config import ManagementSettings, Settings
from dragoman.repository.pack import Contents, pack
from dragoman.testing import TestClient
from tests.browser import chromium, new_page  # noqa: F401
from tests.dashboard import models

HERE = Path(__file__).parent
HALF = """class Model:
    inputs = {{"x": ("FP32", [-1, 4])}}
    outputs = {{"y": ("FP32", [-1, 4])}}
    batched = True

    def predict(self, x):
        return {{"y": x / {divisor}}}
"""


def fill_store(store):
    """Models to be loaded by name: they divide by two and by three."""
    store.mkdir()
    for divisor in (2, 3):
        (store / f"by{divisor}.py").write_text(HALF.format(divisor=divisor))
    return store


def make_labelled(folder):
    """A model whose classes have names."""
    folder.mkdir()
    (folder / "model.py").write_text(Path(models.__file__).read_text())
    (folder / "model.toml").write_text(
        'entry = "model:Labelled"\n[[outputs]]\nname = "kind"\nlabels_file = "labels.txt"\n'
    )
    (folder / "labels.txt").write_text(f"tabby cat\nespresso\n{models.HOSTILE}\n")
    return folder


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    """One of every kind of model. Nothing here changes what is served."""
    folder = tmp_path_factory.mktemp("page")
    handled = pack(Contents(model_name="words", version="1.0", handler=str(HERE / "handlers.py")), folder)
    labelled = make_labelled(folder / "labelled")
    classes = (models.Spread, models.Everything, models.Picture, models.Hostile, models.Refuses, models.Dies)
    settings = Settings(management=ManagementSettings(store=str(fill_store(folder / "store"))))
    with TestClient(*classes, str(labelled), str(handled), settings=settings, strict=False) as client:
        yield client


@pytest.fixture
def managed(tmp_path):
    """A server whose models a test may change."""
    settings = Settings(management=ManagementSettings(store=str(fill_store(tmp_path / "store"))))
    with TestClient(models.Spread, settings=settings) as client:
        yield client


@pytest.fixture
def visit(new_page):  # noqa: F811
    """Open a view of a server: ``visit(client, "#/models/x")``; ``options`` are those of a browser's context."""

    def open_view(client, view="", **options):
        page = new_page(**options)
        page.goto(f"{client.url}/{view}")
        page.locator("#state[data-state]").wait_for()
        return page

    return open_view
