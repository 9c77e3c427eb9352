"""Programs written for KServe's Python API, run unchanged and asked by KServe's own clients."""

import asyncio
import json

import joblib
import numpy as np
import pytest
import requests
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from sklearn.datasets import load_iris
from sklearn.svm import SVC

from tests.program import Program

ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
OLD = ("--dialect", "0.13")


def question(name="rows", rows=ROWS, datatype="FP32"):
    tensor = InferInput(name, [len(rows), len(rows[0])], datatype)
    tensor.set_data_from_numpy(np.array(rows, np.float32), binary_data=True)
    return InferRequest(None, [tensor])


async def over_v1(url, model, document, verb="infer", **more):
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        return await getattr(client, verb)(url, data=document, model_name=model, **more)


async def over_v2(url, model, request):
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, model)
        return await client.infer(url, request, model_name=model)


async def over_grpc(address, model, request):
    async with InferenceGRPCClient(address, use_ssl=False) as client:
        request.model_name = model
        return await client.infer(request)


def test_a_predictor_of_the_old_api_answers_over_every_protocol():
    with Program("predictor_013.py", "--model_name", "sums", options=OLD) as program:
        assert asyncio.run(over_v1(program.url, "sums", {"instances": ROWS})) == {"predictions": [6.0, 15.0]}
        explained = asyncio.run(over_v1(program.url, "sums", {"instances": [[1, 3]]}, "explain"))
        assert explained == {"explanations": [[0.25, 0.75]]}
        answer = asyncio.run(over_v2(program.url, "sums", question()))
        assert answer.outputs[0].as_numpy().tolist() == [6.0, 15.0]
        answer = asyncio.run(over_grpc(program.grpc, "sums", question()))
        assert answer.outputs[0].as_numpy().tolist() == [6.0, 15.0]


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
def test_a_transformer_of_the_old_api_asks_its_predictor(protocol):
    with Program("predictor_013.py", "--model_name", "sums", options=OLD) as predictor:
        host = (predictor.grpc if protocol == "grpc-v2" else predictor.url).removeprefix("http://")
        flags = ("--model_name", "sums", "--predictor_host", host, "--predictor_protocol", protocol)
        with Program("transformer_013.py", *flags, options=OLD) as transformer:
            answer = asyncio.run(over_v1(transformer.url, "sums", {"instances": ROWS}))
            assert answer == {"predictions": [60.0, 150.0], "scaled": True}
            if protocol == "v1":
                explained = asyncio.run(over_v1(transformer.url, "sums", {"instances": [[1, 3]]}, "explain"))
                assert explained == {"explanations": [[0.25, 0.75]]}
                refused = requests.post(
                    f"{transformer.url}/v1/models/sums:predict", json={"instances": []}, timeout=30
                )
                assert refused.status_code == 400


def test_a_predictor_of_the_new_api_has_headers_and_middleware():
    with Program("predictor_021.py", "--model_name", "sums") as program:
        heads = {}
        answer = asyncio.run(over_v1(program.url, "sums", {"instances": ROWS}, response_headers=heads))
        assert answer == {"predictions": [6.0, 15.0]}
        assert heads["x-rows"] == "counted"
        answer = asyncio.run(over_v2(program.url, "sums", question()))
        assert answer.outputs[0].as_numpy().tolist() == [6.0, 15.0]
        answer = asyncio.run(over_grpc(program.grpc, "sums", question()))
        assert answer.outputs[0].as_numpy().tolist() == [6.0, 15.0]
        refused = requests.post(
            f"{program.url}/v1/models/sums:predict",
            json={"instances": [1]},
            headers={"Origin": "https://example.com"},
            timeout=30,
        )
        assert refused.status_code == 400
        assert refused.json() == {"error": "expected rows, got 1 dimensions"}
        assert refused.headers["access-control-allow-origin"] == "https://example.com"
        assert requests.get(f"{program.url}/version", timeout=30).json() == {"program": "sums"}


def write_iris(folder):
    data = load_iris()
    folder.mkdir(parents=True)
    joblib.dump(SVC(gamma="scale").fit(data.data, data.target), folder / "model.joblib")


@pytest.mark.parametrize("options", [(), OLD])
def test_a_server_for_scikit_learn_serves_a_folder(tmp_path, options):
    write_iris(tmp_path / "iris")
    flags = ("--model_name", "iris", "--model_dir", str(tmp_path / "iris"))
    with Program("sklearn_server.py", *flags, options=options) as program:
        rows = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
        assert asyncio.run(over_v1(program.url, "iris", {"instances": rows})) == {"predictions": [0, 2]}
        answer = asyncio.run(over_v2(program.url, "iris", question("input-0", rows)))
        assert answer.outputs[0].as_numpy().tolist() == [0, 2]


def test_a_server_for_scikit_learn_serves_a_repository(tmp_path):
    for name in ("first", "second"):
        write_iris(tmp_path / name)
    with Program("sklearn_server.py", "--model_dir", str(tmp_path)) as program:
        models = requests.get(f"{program.url}/v1/models", timeout=30).json()["models"]
        assert models == ["first", "second"]
        write_iris(tmp_path / "third")
        loaded = requests.post(f"{program.url}/v2/repository/models/third/load", timeout=60)
        assert loaded.status_code == 200
        rows = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
        assert asyncio.run(over_v1(program.url, "third", rows)) == {"predictions": [0]}


def test_a_signal_stops_a_program_when_it_has_answered():
    with Program("predictor_021.py") as program:
        program.process.terminate()
        assert program.process.wait(30) == 0
        assert any("stopping" in line for line in program.log if line.startswith("{") and json.loads(line))
