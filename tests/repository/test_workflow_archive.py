"""Archives of workflows: what a specification says, and what is no workflow."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dragoman.repository.paths import InvalidArchive
from dragoman.repository.workflow_archive import Node, open_workflow_archive, read_spec
from tests.repository.archives import zipped, zipped_members

SPEC = """
models:
  min-workers: 1
  max-workers: 4
  batch-size: 3
  max-batch-delay: 5000
  retry-attempts: 3
  timeout-ms: 5000
  m1:
    url: model1.mar
    min-workers: 2
    batch-size: 4
  m2:
    url: https://example.com/model2.mar
    retry-attempts: 0
  unused:
    url: unused.mar
dag:
  pre: [m1, m2]
  m1: [post]
  m2: [post]
"""


def manifest(**workflow: Any) -> bytes:
    said = {"workflowName": "flow", "handler": "h.py", "specFile": "spec.yaml"} | workflow
    return json.dumps({"archiverVersion": "0.2.15", "createdOn": "", "workflow": said}).encode()


def archive(tmp_path: Path, files: dict[str, bytes]) -> Path:
    path = tmp_path / "flow.war"
    path.write_bytes(zipped(files))
    (tmp_path / "cache").mkdir(exist_ok=True)
    return path


def files(spec: str = SPEC, **workflow: Any) -> dict[str, bytes]:
    return {
        "WAR-INF/MANIFEST.json": manifest(**workflow),
        "spec.yaml": spec.encode(),
        "h.py": b"def pre(data, context): ...\n",
    }


def test_an_archive_says_what_goes_where(tmp_path: Path) -> None:
    found = open_workflow_archive(archive(tmp_path, files()), tmp_path / "cache")
    assert (found.name, found.handler, len(found.digest)) == ("flow", "h.py", 64)
    assert (found.directory / "h.py").is_file()
    assert found.spec.dag == {"pre": ("m1", "m2"), "m1": ("post",), "m2": ("post",)}
    assert list(found.spec.nodes) == ["pre", "m1", "m2", "post"]
    assert found.spec.functions == ["pre", "post"]
    assert (found.spec.before("post"), found.spec.before("pre")) == (["m1", "m2"], [])


def test_what_a_model_does_not_say_is_said_for_all_of_them() -> None:
    spec = read_spec(yaml.safe_load(SPEC))
    common = {"max_workers": 4, "max_batch_delay": 5000, "timeout_ms": 5000}
    assert spec.nodes["m1"] == Node(
        name="m1", url="model1.mar", min_workers=2, batch_size=4, retry_attempts=3, **common
    )
    assert spec.nodes["m2"] == Node(
        name="m2", url="https://example.com/model2.mar", batch_size=3, retry_attempts=0, **common
    )
    assert spec.nodes["pre"] == Node(name="pre", retry_attempts=3, timeout_ms=5000)
    assert (spec.defaults.batch_size, spec.defaults.max_workers) == (3, 4)


def test_the_defaults_are_torchserves() -> None:
    spec = read_spec({"dag": {"a": ["b", "b", None, ""], "b": None}, "models": {"b": {"url": "b.mar"}}})
    assert spec.dag == {"a": ("b",), "b": ()}
    assert spec.nodes["b"] == Node(name="b", url="b.mar")
    assert spec.defaults == Node(name="")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"models": {}},
        {"dag": {}},
        {"dag": ["a"]},
        {"dag": {"a": []}, "models": ["a"]},
        {"dag": {1: ["b"]}},
        {"dag": {"a": [["b"]]}},
        {"dag": {"a": {"b": "c"}}},
        {"dag": {" ": ["b"]}},
        {"dag": {"a": []}, "models": {"a": {}}},
        {"dag": {"a": []}, "models": {"a": {"url": 5}}},
        {"dag": {"a": []}, "models": {"a": "a.mar"}},
        {"dag": {"a": []}, "models": {"batch-size": "many"}},
        {"dag": {"a": []}, "models": {"batch-size": True}},
        {"dag": {"a": []}, "models": {"batch-size": 0}},
        {"dag": {"a": []}, "models": {"timeout-ms": -1}},
        {"dag": {"a": []}, "models": {"a": {"url": "a.mar", "max-workers": 1, "min-workers": 2}}},
        {"dag": {f"n{number}": [] for number in range(101)}},
    ],
)
def test_what_is_no_specification_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidArchive):
        read_spec(document)


@pytest.mark.parametrize(
    "changed",
    [
        {"WAR-INF/MANIFEST.json": b"{}"},
        {"WAR-INF/MANIFEST.json": b"no JSON"},
        {"WAR-INF/MANIFEST.json": b"[" * 100_000},
        {"WAR-INF/MANIFEST.json": manifest(specFile="nosuch.yaml")},
        {"WAR-INF/MANIFEST.json": manifest(specFile="")},
        {"WAR-INF/MANIFEST.json": manifest(specFile="../spec.yaml")},
        {"WAR-INF/MANIFEST.json": manifest(specFile=5)},
        {"WAR-INF/MANIFEST.json": manifest(handler="/etc/passwd")},
        {"WAR-INF/MANIFEST.json": manifest(handler="nosuch.py")},
        {"WAR-INF/MANIFEST.json": manifest(handler=None)},
        {"spec.yaml": b"models: !!python/object/apply:os.system [id]"},
        {"spec.yaml": b"[a, b]"},
        {"spec.yaml": b"dag: &a [*a]"},
    ],
)
def test_what_is_no_workflow_is_refused(tmp_path: Path, changed: dict[str, bytes]) -> None:
    with pytest.raises(InvalidArchive):
        open_workflow_archive(archive(tmp_path, {**files(), **changed}), tmp_path / "cache")


def test_an_archive_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive, match="Missing Workflow entry"):
        open_workflow_archive(archive(tmp_path, {"h.py": b""}), tmp_path / "cache")


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {})
    path.write_bytes(zipped_members(("WAR-INF/MANIFEST.json", manifest()), ("../../owned", b"x")))
    with pytest.raises(InvalidArchive, match="outside its own folder"):
        open_workflow_archive(path, tmp_path / "cache")
    assert not (tmp_path / "owned").exists()


def test_models_alone_need_no_handler(tmp_path: Path) -> None:
    spec = "models: {a: {url: a.mar}, b: {url: b.mar}}\ndag: {a: [b]}\n"
    found = open_workflow_archive(archive(tmp_path, files(spec, handler=None)), tmp_path / "cache")
    assert (found.handler, found.spec.functions) == ("", [])
