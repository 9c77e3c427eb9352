"""Twelve lines of a service, asked in every dialect; what it refuses, and how each of them says so."""

from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from dragoman.testing import TestClient

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module")
def words():
    with TestClient(str(APPS / "words.py")) as client:
        yield client


@pytest.fixture(scope="module")
def many():
    with TestClient(str(APPS / "many.py")) as client:
        yield client


def v2(name, datatype, shape, data):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_the_typed_endpoint(words):
    answer = words.post("/predict", {"text": "one two three"})
    assert (answer.status, answer.json()["data"]) == (200, 3)


def test_the_same_over_v1(words):
    answer = words.post("/v1/models/words:predict", {"instances": ["one two three", "four"]})
    assert answer.json() == {"predictions": [3, 1]}


def test_the_same_over_v2_in_json(words):
    inputs = [v2("text", "BYTES", [2], ["one two three", "four"])]
    answer = words.post("/v2/models/words/infer", {"inputs": inputs}).json()
    assert answer["outputs"] == [v2("output", "INT64", [2], [3, 1])]
    assert answer["model_name"] == "words"


def test_the_same_over_v2_in_binary_with_triton_s_client(words):
    client = tritonclient.http.InferenceServerClient(words.url.removeprefix("http://"))
    text = tritonclient.http.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array(["one two three"], dtype=object))
    assert client.infer("words", [text]).as_numpy("output").tolist() == [3]
    client.close()


def test_the_same_over_grpc_with_triton_s_client(words):
    client = tritonclient.grpc.InferenceServerClient(words.grpc)
    text = tritonclient.grpc.InferInput("text", [2], "BYTES")
    text.set_data_from_numpy(np.array(["one two three", "four"], dtype=object))
    assert client.infer("words", [text]).as_numpy("output").tolist() == [3, 1]
    client.close()


def test_the_metadata_tells_the_tensors(words):
    document = words.get("/v2/models/words").json()
    assert document["platform"] == "service"
    assert [spec["name"] for spec in document["inputs"]] == ["text", "separator"]
    assert document["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": [-1]}
    assert document["outputs"] == [{"name": "output", "datatype": "INT64", "shape": [-1]}]


def test_what_has_a_default_is_an_optional_input_or_a_parameter(words):
    text, comma = v2("text", "BYTES", [1], ["a,b"]), v2("separator", "BYTES", [1], [","])
    with_tensor = words.post("/v2/models/words/infer", {"inputs": [text, comma]}).json()
    with_parameter = words.post(
        "/v2/models/words/infer", {"inputs": [text], "parameters": {"separator": ","}}
    ).json()
    assert with_tensor["outputs"][0]["data"] == with_parameter["outputs"][0]["data"] == [2]


def test_one_mistake_is_422_with_a_place_on_the_typed_path_and_400_with_a_text_on_v2(many):
    typed = many.post("/predict", {"numbers": [1, "x"]})
    assert typed.status == 422
    assert typed.json()["detail"][0]["loc"] == ["body", "numbers", 1]
    wrong = v2("name", "BYTES", [1], ["x"])
    over_v2 = many.post("/v2/models/many.add/infer", {"inputs": [wrong]})
    assert over_v2.status == 400
    assert over_v2.json() == {"error": "body.name: String should have at least 2 characters"}


def test_the_same_mistake_is_invalid_argument_over_grpc(many):
    client = tritonclient.grpc.InferenceServerClient(many.grpc)
    name = tritonclient.grpc.InferInput("name", [1], "BYTES")
    name.set_data_from_numpy(np.array(["x"], dtype=object))
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.infer("many.add", [name])
    client.close()
    assert str(grpc.StatusCode.INVALID_ARGUMENT) in str(caught.value)


def test_a_method_is_a_model_of_its_own_name(many):
    document = many.get("/v2/models/many.move_points").json()
    assert document["name"] == "many.move_points"
    specs = {spec["name"]: (spec["datatype"], spec["shape"]) for spec in document["inputs"]}
    assert specs == {"x": ("FP64", [-1]), "y": ("FP64", [-1]), "by": ("BYTES", [1]), "colour": ("BYTES", [1])}


def test_and_is_asked_by_it(many):
    inputs = [
        v2("x", "FP64", [2], [1, 2]),
        v2("y", "FP64", [2], [0, 0]),
        v2("by", "BYTES", [1], ['{"x": 10, "y": 1}']),
    ]
    answer = many.post("/v2/models/many.move_points/infer", {"inputs": inputs}).json()
    assert answer["model_name"] == "many.move_points"
    assert answer["outputs"] == [
        v2("x", "FP64", [2], [11, 12]),
        v2("y", "FP64", [2], [1, 1]),
        v2("colour", "BYTES", [1], ["red"]),
    ]


def test_an_array_is_a_tensor_of_its_type_and_shape(many):
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert many.infer("many.total", {"rows": rows})["output"].tolist() == [[3], [12]]
    typed = many.post("/total", {"rows": [[0, 1, 2], [3, 4, 5]]})
    assert typed.json()["data"] == [[3], [12]]
    refused = many.post("/total", {"rows": [[0, 1]]}).json()["detail"][0]
    assert refused["msg"] == "Value error, the shape [-1, 3] is expected, got [1, 2]"


def test_a_stream_s_items_are_rows_of_one_answer(many):
    answer = many.post("/v2/models/many.count/infer", {"inputs": [v2("until", "INT64", [1], [3])]}).json()
    assert answer["outputs"] == [v2("output", "INT64", [3], [0, 1, 2])]


def test_an_unknown_method_is_no_model(many):
    answer = many.post("/v2/models/many.nothing/infer", {"inputs": []})
    assert (answer.status, answer.json()["error"]) == (
        404, "Request for unknown model: 'many.nothing' is not found",
    )  # fmt: skip


def test_clients_of_the_tensor_dialects_can_not_send_what_only_the_front_sends(many):
    inputs = [v2("numbers", "FP64", [1], [1])]
    body = {"inputs": inputs, "parameters": {"http": {"endpoint": "predict"}}}
    assert many.post("/v2/models/many/infer", body).status == 400
    document = {"instances": [1.0], "parameters": {"http": {"endpoint": "predict"}}}
    assert many.post("/v1/models/many:predict", document).status == 400


def test_the_numbers_of_each_dialect_are_counted(words):
    words.post("/predict", {"text": "one"})
    words.post("/predict", {})
    metrics = words.get("/metrics").body.decode()
    assert 'dialect="service",' in metrics or 'dialect="service"' in metrics
    assert "invalid_input" in metrics
