"""A model whose archive asks for a package that the server doesn't have."""

import json
import zipfile
from dataclasses import replace

import pytest

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient

HANDLER = """
import tinything

def handle(data, context):
    return None if data is None else [tinything.answer for _ in data]
"""


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    info = "tinything-1.2.dist-info"
    wheel = tmp_path / "tinything-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tinything.py", "answer = 42\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinything\nVersion: 1.2\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    model = {"modelName": "needy", "handler": "handler.py", "modelVersion": "1.0"}
    manifest = {"runtime": "python", "model": {**model, "requirementsFile": "requirements.txt"}}
    with zipfile.ZipFile(tmp_path / "needy.mar", "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("handler.py", HANDLER)
        file.writestr("requirements.txt", "./tinything-1.2-py3-none-any.whl\n")
        file.write(wheel, wheel.name)
    return tmp_path / "needy.mar"


def test_what_an_archive_asks_for_is_installed_for_it_alone_when_the_operator_wants_it(archive):
    settings = Settings(models=replace(ModelSettings(), install_requirements=True))
    with TestClient(str(archive), settings=settings) as client:
        assert client.request("POST", "/predictions/needy", b"x").body == b"42"
    with pytest.raises(ImportError):
        import tinything  # noqa: F401 - the server itself has nothing of it


def test_otherwise_it_is_not_and_the_load_says_what_is_missing(archive):
    with pytest.raises(RuntimeError, match="tinything"), TestClient(str(archive)):
        raise AssertionError("not reached")
