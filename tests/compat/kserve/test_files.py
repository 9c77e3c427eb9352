"""Model files as KServe's documentation has them, of both dialects, imported unchanged under the name ``kserve``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dragoman
from dragoman.testing import TestClient
from tests.compat.kserve.peers import Adder

FILES = Path(__file__).parent / "files"
SOURCE = str(Path(dragoman.__file__).parents[1])


def run(file, name, *arguments, predictor=None, v2=True):
    """What the model of a file answers over v1 and v2, and the headers of both answers."""
    task = {
        "dialect": "0.13" if file.startswith("old") else "0.21",
        "file": str(FILES / file),
        "class": name,
        "arguments": arguments,
        "predictor": predictor,
        "v2": v2,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", FILES / "run.py"],
        input=json.dumps(task).encode(),
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def predictor():
    with TestClient(Adder) as client:
        yield client


def host(client, protocol):
    return client.grpc if protocol == "grpc-v2" else f"127.0.0.1:{client.app.port}"


def test_a_predictor_of_the_old_dialect_predicts():
    over_v1, _ = run("old/custom_model.py", "PixelModel", "pixels", v2=False)
    assert over_v1 == [{"predictions": [510]}, {}]


def test_a_predictor_of_the_new_dialect_predicts():
    over_v1, over_v2 = run("new/custom_model.py", "PixelModel", "pixels")
    assert over_v1 == [{"predictions": [510]}, {"my-header": "sample"}]
    assert over_v2 == [{"outputs": [["output-0", [510]]]}, {"my-header": "sample"}]


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
def test_a_transformer_of_the_old_dialect_asks_its_predictor(predictor, protocol):
    # row: assigned-predictor
    answers = run(
        "old/custom_transformer.py", "ImageTransformer", "Adder", host(predictor, protocol), protocol
    )
    assert answers == [[{"predictions": [2.0, 2.0]}, {}]] * 2


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
def test_a_transformer_of_the_new_dialect_asks_its_predictor(predictor, protocol):
    where = [host(predictor, protocol), protocol]
    answers = run("new/custom_transformer.py", "ImageTransformer", "Adder", predictor=where)
    assert answers == [[{"predictions": [2.0, 2.0]}, {}]] * 2
