"""MANIFEST.json, as archivers of all ages write it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.repository.manifest import Manifest, parse_manifest, read_manifest
from dragoman.repository.paths import InvalidArchive


def parse(**model: Any) -> Manifest:
    return parse_manifest(json.dumps({"runtime": "python", "model": model}).encode())


def test_everything_an_archiver_writes_is_read() -> None:
    document = {
        "createdOn": "22/11/2026 01:19:34",
        "runtime": "python3",
        "model": {
            "modelName": "mnist",
            "serializedFile": "mnist.pt",
            "handler": "handler.py:entry",
            "modelFile": "net.py",
            "modelVersion": "2.0-rc",
            "requirementsFile": "requirements.txt",
            "configFile": "model-config.yaml",
            "extensions": {"batch": 4},
            "sourceVocab": "vocab.txt",
            "envelope": "json",
            "somethingNew": [1],
        },
        "archiverVersion": "0.12.0",
        "license": "MIT",
    }
    assert parse_manifest(json.dumps(document).encode()) == Manifest(
        "mnist",
        "2.0-rc",
        "handler.py:entry",
        "python3",
        "mnist.pt",
        "net.py",
        "requirements.txt",
        "model-config.yaml",
        "vocab.txt",
        "json",
        {"batch": 4},
        "0.12.0",
        "22/11/2026 01:19:34",
        document,
    )


def test_what_isnt_said_has_torchserves_defaults(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest()
    assert (Manifest().name, Manifest().version, Manifest().runtime) == ("", "1.0", "python")
    read = parse_manifest(
        b'\xef\xbb\xbf{"model": {"modelName": "m", "modelVersion": null, "extensions": null}}'
    )
    assert (read.name, read.version, read.runtime) == ("m", "1.0", "python")
    assert (parse(modelVersion=2).version, parse(modelVersion=1.5).version) == ("2", "1.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Failed to parse signature."),
        ("{", "Failed to parse signature."),
        ("[]", "Failed to parse signature."),
        ("\ufeff\ufeff{}", "Failed to parse signature."),
        ('{"model": {"x": NaN}}', "Failed to parse signature."),
        ("[" * 100_000, "Failed to parse signature."),
        ("{}", "Missing Model entry in manifest file."),
        ('{"model": null}', "Missing Model entry in manifest file."),
        ('{"model": []}', "Missing Model entry in manifest file."),
        ('{"runtime": "ruby", "model": {}}', "Runtime is not defined or invalid."),
        ('{"runtime": null, "model": {}}', "Runtime is not defined or invalid."),
        ('{"runtime": [], "model": {}}', "Runtime is not defined or invalid."),
        ('{"model": {"modelName": 1}}', "modelName must be a text in MANIFEST.json, got 1"),
        ('{"model": {"handler": ["x"]}}', "handler must be a text in MANIFEST.json, got ['x']"),
        ('{"model": {"handler": "a\\u0000b"}}', "handler must be a text"),
        ('{"model": {"modelVersion": true}}', "modelVersion must be a text"),
        ('{"model": {"extensions": []}}', "extensions must be an object"),
        ('{"model": {"serializedFile": "../x"}}', "a name outside its own folder: '../x'"),
        ('{"model": {"requirementsFile": "/etc/x"}}', "a name outside its own folder"),
        ('{"model": {"configFile": "a\\\\b"}}', "a name outside its own folder"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArchive) as caught:
        parse_manifest(text.encode())
    assert message in str(caught.value)


def test_a_manifest_may_not_be_large_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "MAR-INF").mkdir()
    path = tmp_path / "MAR-INF" / "MANIFEST.json"
    path.write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(InvalidArchive, match="more than 1048576 bytes"):
        read_manifest(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InvalidArchive, match=r"can't read 'MANIFEST\.json'"):
        read_manifest(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)
)
keys = st.sampled_from(["modelName", "modelVersion", "handler", "serializedFile", "extensions", "other"])


@settings(deadline=None)  # the first one imports, and a busy disk waits
@given(st.dictionaries(keys, values), values)
def test_no_manifest_does_anything_but_be_read_or_refused(model: dict[str, Any], runtime: Any) -> None:
    try:
        read = parse_manifest(json.dumps({"model": model, "runtime": runtime}).encode())
    except InvalidArchive:
        return
    assert isinstance(read.name, str)
    assert isinstance(read.version, str)
