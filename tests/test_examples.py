"""The examples, run as their README says, against live servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dragoman.testing import TestClient
from tests.profiles.running import serving

ROOT = Path(__file__).parent.parent
GRPC = ROOT / "examples" / "grpc"
TAGS = ROOT / "examples" / "tags"
PROTOS = ROOT / "src" / "dragoman" / "protocols" / "torchserve" / "protos"


def run(*command, **options):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=180, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def sums():
    with TestClient(f"{GRPC / 'model.py'}:Sums") as client:
        yield client.grpc


def test_triton_s_client_gets_sums_in_every_way(sums):
    assert run(GRPC / "triton_client.py", sums) == [
        "ready: True",
        "one call: [[11.0, 12.0, 13.0]]",
        "side by side: [[[1.0, 2.0, 3.0]], [[2.0, 3.0, 4.0]], [[3.0, 4.0, 5.0]]]",
        "on a stream, in order: [[[1.0, 2.0, 3.0]], [[2.0, 3.0, 4.0]], [[3.0, 4.0, 5.0]]]",
    ]


def test_kserve_s_client_gets_a_sum(sums):
    assert run(GRPC / "kserve_client.py", sums) == ["ready: True", "sum: [[11.0, 12.0, 13.0]]"]


def test_messages_compiled_anew_register_ask_and_unregister(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    files = ("inference.proto", "management.proto", "google/rpc/status.proto")
    out = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python")]
    run("-m", "grpc_tools.protoc", f"-I{PROTOS}", *out, *files)
    with serving(tmp_path, disable_token_authorization="true", enable_model_api="true") as running:
        inference, management = (f"127.0.0.1:{door.port}" for door in running.app.grpc_listeners)

        archive = ("archive", "--model-name", "tokens", "--version", "1.0", "--export-path", store)
        run("-m", "dragoman", *archive, "--handler", GRPC / "tokens.py")

        def ask(*said):
            ports = ("--inference", inference, "--management", management)
            # The compiled messages lie beside the client, in a reader's folder.
            return run(GRPC / "torchserve_client.py", *said, *ports, env={"PYTHONPATH": str(tmp_path)})

        assert ask("register", "tokens") == ['Model "tokens" Version: 1.0 registered with 1 initial workers']
        assert ask("infer", "tokens", "hello") == ["hello"]
        assert ask("stream", "tokens", "to be or not") == ["to ", "be ", "or ", "not"]
        assert ask("unregister", "tokens") == ['Model "tokens" unregistered']


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The tag classifier, trained here and now."""
    folder = tmp_path_factory.mktemp("tags")
    lines = run(TAGS / "train.py", folder)
    return folder, lines


def test_the_tag_classifier_learns_and_serves_its_own_figures(trained, monkeypatch):
    folder, lines = trained
    performance = json.loads((folder / "performance.json").read_text())
    assert json.loads(lines[-1]) == performance["overall"]
    assert performance["overall"]["f1"] > 0.65  # chance is 0.05, always the most frequent tag 0.13
    monkeypatch.setenv("TAGS_MODEL", str(folder))
    with TestClient(str(TAGS / "app.py")) as client:
        texts = ["Can you write a function that sorts a list?", "Which planet is the biggest?"]
        answer = client.post("/predict", {"texts": [{"text": text} for text in texts]}).json()
        tags = [prediction["predicted_tag"] for prediction in answer["data"]["predictions"]]
        assert tags == ["coding", "trivia"]
        assert answer["run-id"] == (folder / "run_id.txt").read_text()
        shown = client.get("/performance?filter=overall").json()["data"]["performance"]
        assert shown == performance["overall"]
        assert {"class", "slices"} <= client.get("/performance").json()["data"]["performance"].keys()
        assert client.get("/args/analyzer").json()["data"] == {"analyzer": "char_wb"}
        over_v1 = client.post("/v1/models/app:predict", {"instances": [{"text": text} for text in texts]})
        assert over_v1.json()["predictions"]["predicted_tag"] == tags
