"""``dragoman kserve`` as a container of KServe runs it: what the storage initializer lays down, under one name."""

import re
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from dragoman.errors import ConfigError
from dragoman.runtimes.table import guess
from dragoman.serving.mounted import SILENT, find_target, make_mounted_parser
from tests.cli.running import DRAGOMAN, Server, dragoman
from tests.profiles.archives import write_archive

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])


class Runtime(Server):
    command = (*DRAGOMAN, "kserve")
    free = ("--http_port=0", "--grpc_port=0")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A model as scikit-learn's and as ONNX's file."""
    folder = tmp_path_factory.mktemp("made")
    model = LogisticRegression().fit(ROWS, [0, 0, 1, 1])
    joblib.dump(model, folder / "model.joblib")
    exported = to_onnx(model, ROWS[:1].astype(np.float32), options={"zipmap": False})
    (folder / "anything.onnx").write_bytes(exported.SerializeToString())
    return folder


def mount(made: Path, place: Path, *files: str) -> Path:
    place.mkdir(parents=True)
    for file in files:
        shutil.copy(made / file, place)
    return place


@pytest.mark.parametrize(("file", "name"), [("model.joblib", "iris"), ("anything.onnx", "my-iris")])
def test_the_model_in_the_folder_has_the_service_s_name(made, tmp_path, file, name):
    models = mount(made, tmp_path / "models", file)
    with Runtime(tmp_path, f"--model_name={name}", f"--model_dir={models}") as server:
        status, body = server.ask("POST", f"/v1/models/{name}:predict", {"instances": [[0, 0], [3, 3]]})
        assert (status, b"predictions" in body) == (200, True)
        datatype = "FP64" if file.endswith("joblib") else "FP32"
        metadata = server.ask("GET", f"/v2/models/{name}")[1].decode()
        assert datatype in metadata
        assert server.ask("GET", "/v1/models") == (200, f'{{"models":["{name}"]}}'.encode())
        assert server.ask("GET", f"/v1/models/{name}") == (200, f'{{"name":"{name}","ready":true}}'.encode())
        assert server.ask("GET", "/readyz")[0] == 200
        assert server.stop() == 0


def test_settings_of_the_environment_hold_and_what_has_no_meaning_is_told(made, tmp_path):
    models = mount(made, tmp_path / "models", "model.joblib")
    flags = (f"--model_dir={models}", "--model_name", "iris", "--max_threads=8")
    with Runtime(tmp_path, *flags, DRAGOMAN_MODELS__MAX_BATCH="4") as server:
        assert b'"max_batch_size":4' in server.ask("GET", "/v2/models/iris/config")[1]
        assert any(event["event"] == "--max_threads has no meaning here" for event in server.events)


@pytest.mark.parametrize(
    ("lay", "target"),
    [
        (lambda made, place: mount(made, place, "model.joblib"), "iris={}"),
        (lambda made, place: mount(made, place, "anything.onnx"), "iris={}"),
        (lambda made, place: mount(made, place / "1", "model.joblib"), "iris={}"),
        (lambda made, place: mount(made, place / "irises", "model.joblib"), "{}"),
        (lambda made, place: [mount(made, place / each, "model.joblib") for each in ("a", "b")], "{}"),
        (lambda made, place: write_archive(mount(made, place / "model-store"), "words"), "{}/model-store"),
        (lambda made, place: write_archive(mount(made, place), "words"), "iris={}"),
    ],
    ids=["file", "other file", "versions", "one of a repository", "repository", "model store", "archive"],
)
def test_one_model_is_called_as_the_service_and_a_repository_s_models_by_their_own_names(
    made, tmp_path, monkeypatch, lay, target
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lay(made, tmp_path / "models")
    assert find_target("iris", str(tmp_path / "models"), guess) == target.format(tmp_path / "models")


def test_a_file_may_be_named_itself(made):
    assert find_target("iris", str(made / "model.joblib"), guess) == f"iris={made / 'model.joblib'}"


def test_a_mount_that_is_not_there_is_told_of(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        find_target("iris", str(tmp_path / "none"), guess)
    done = dragoman("kserve", "--model_name=iris", f"--model_dir={tmp_path / 'none'}")
    assert done.returncode == 78
    assert "storage initializer" in done.stderr


def test_an_unknown_flag_is_refused(tmp_path):
    done = dragoman("kserve", "--model_nmae=iris")
    assert done.returncode == 2
    assert "--model_nmae=iris" in done.stderr


def table() -> str:
    """To write it anew: ``python -c "from tests.deploy.test_kserve_command import table; print(table())"``."""
    rows = ["| flag | default | |", "|---|---|---|"]
    for action in make_mounted_parser()._actions:
        flag = action.option_strings[-1]
        if flag != "--help":
            default = "" if action.default is None else f"`{action.default}`"
            meaning = "without meaning here" if action.dest in SILENT else action.help
            rows.append(f"| `{flag}` | {default} | {meaning} |")
    return "\n".join(rows)


def test_every_flag_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    found = re.search(r"<!-- flags -->\n(.*?)\n?<!-- end -->", page, re.S)[1].strip()
    assert found == table()
