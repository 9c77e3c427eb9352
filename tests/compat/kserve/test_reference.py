"""Everything on KServe's reference page is there, takes what the page says, and does what it says."""

import asyncio
import importlib
import inspect
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dragoman.compat import kserve
from dragoman.compat.kserve.errors import InferenceError, InvalidInput
from dragoman.compat.kserve.model import BaseKServeModel, InferenceVerb, Model
from dragoman.compat.kserve.predictor_config import PredictorConfig
from dragoman.compat.kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from dragoman.compat.kserve.protocol.infer_type import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    deserialize_bytes_tensor,
    serialize_byte_tensor,
    to_grpc_parameters,
    to_http_parameters,
)

PAGE = tomllib.loads((Path(__file__).parent / "reference.toml").read_text("utf-8"))["entry"]
WORDS = {"InferenceVerb.PREDICT": InferenceVerb.PREDICT, "PredictorProtocol.REST_V1.value": "v1"}

pytestmark = pytest.mark.usefixtures("old")


def find(entry):
    name = kserve.ELSEWHERE.get(
        entry["module"], entry["module"].replace("kserve", "dragoman.compat.kserve", 1)
    )
    owner = importlib.import_module(name)
    if "class" in entry:
        owner = getattr(owner, entry["class"])
        return inspect.getattr_static(owner, entry["member"]), getattr(owner, entry["member"])
    return (getattr(owner, entry["member"]),) * 2


def title(entry):
    return f"{entry.get('class', 'function')}.{entry['member']}"


@pytest.mark.parametrize("entry", PAGE, ids=title)
def test_a_member_is_what_the_page_says(entry):
    static, found = find(entry)
    if entry["kind"] == "property":
        assert isinstance(static, property)
        assert static.fset is not None or not entry["writable"]
        return
    assert isinstance(static, classmethod) == (entry["kind"] == "classmethod")
    answers = str(inspect.signature(found).return_annotation)
    can_be_awaited = inspect.iscoroutinefunction(found) or "Awaitable" in answers or "Future" in answers
    assert can_be_awaited == entry["async"]
    taken = list(inspect.signature(found).parameters.values())
    if entry["kind"] == "method":
        assert taken.pop(0).name == "self"
    assert [parameter.name for parameter in taken[: len(entry["arguments"])]] == [
        argument.partition("=")[0] for argument in entry["arguments"]
    ]
    assert all(parameter.default is not parameter.empty for parameter in taken[len(entry["arguments"]) :])


@pytest.mark.parametrize("entry", [entry for entry in PAGE if "arguments" in entry], ids=title)
def test_defaults_are_those_of_the_page(entry):
    taken = inspect.signature(find(entry)[1]).parameters
    for argument in entry["arguments"]:
        name, _, default = argument.partition("=")
        if default and not default.startswith("args."):  # which are a command line's
            wanted = WORDS[default] if default in WORDS else eval(default)
            assert taken[name].default == wanted, argument


def test_the_page_is_here_in_full():
    assert len(PAGE) == 53
    assert {entry["class"] for entry in PAGE if "class" in entry} == {
        "ModelServer",
        "BaseKServeModel",
        "Model",
        "PredictorConfig",
        "InferInput",
        "InferOutput",
        "InferRequest",
        "InferResponse",
    }


class Doubler(Model):
    """Every hook of the page, each with the page's arguments."""

    async def preprocess(self, payload, headers=None):
        return {"instances": [2 * value for value in payload["instances"]], "for": headers["who"]}

    async def predict(self, payload, headers=None):
        return {"predictions": payload["instances"], "for": payload["for"]}

    async def explain(self, payload, headers=None):
        return {"explanations": payload["instances"]}

    async def postprocess(self, result, headers=None):
        return {**result, "done": True}


def ask(model, *arguments, **named):
    return asyncio.run(model(*arguments, **named))


class TestBaseKServeModel:
    def test_has_the_attributes_that_every_model_needs(self):
        model = Doubler("double")
        assert (model.name, model.ready) == ("double", False)
        with pytest.raises(TypeError):
            BaseKServeModel("abstract")

    def test_is_healthy_when_it_is_ready(self):
        model = Doubler("double")
        assert model.healthy() is False
        model.ready = True
        assert model.healthy() is True

    def test_stop_can_be_overridden(self):
        class Held(Doubler):
            def stop(self):
                self.given_back = True

        model = Held("held")
        model.stop()
        assert model.given_back


class TestModel:
    def test_calls_the_hooks_one_after_the_other(self):
        answer = ask(Doubler("double"), {"instances": [1, 2]}, headers={"who": "me"})
        assert answer == {"predictions": [2, 4], "for": "me", "done": True}

    def test_predicts_or_explains_by_the_verb(self):
        model, body, headers = Doubler("double"), {"instances": [3]}, {"who": "me"}
        explained = {"explanations": [6], "done": True}
        assert ask(model, body, InferenceVerb.EXPLAIN, headers) == explained
        assert ask(model, body, verb=InferenceVerb.EXPLAIN, headers=headers) == explained
        assert ask(model, body, InferenceVerb.PREDICT, headers)["predictions"] == [6]

    def test_load_makes_it_ready_and_says_so(self):
        model = Doubler("double")
        assert model.load() is True
        assert model.ready is True

    def test_hooks_hand_on_what_they_get_until_they_are_overridden(self):
        model = Model("plain")
        assert asyncio.run(model.preprocess({"a": 1})) == {"a": 1}
        assert asyncio.run(model.postprocess({"b": 2}, {})) == {"b": 2}

    def test_predict_needs_a_predictor_and_explain_an_explainer(self):
        model = Model("plain")
        with pytest.raises(NotImplementedError, match=r"^Could not find predictor_host\.$"):
            ask(model, {"instances": []})
        with pytest.raises(NotImplementedError, match=r"^Could not find explainer_host\.$"):
            ask(model, {"instances": []}, InferenceVerb.EXPLAIN)

    def test_takes_the_configuration_of_its_predictor(self):
        config = PredictorConfig("somewhere:8080", "v2", True, 5)
        model = Model("name", predictor_config=config)
        assert (model.predictor_host, model.protocol) == ("somewhere:8080", "v2")
        assert (model.use_ssl, model.timeout) == (True, 5)
        assert Model("name", config).predictor_host == "somewhere:8080"
        assert Model("name").protocol == "v1"


def test_a_predictor_s_configuration_has_the_page_s_defaults():
    config = PredictorConfig("host")
    assert (
        vars(config).items()
        >= {
            "predictor_host": "host",
            "predictor_protocol": "v1",
            "predictor_use_ssl": False,
            "predictor_request_timeout_seconds": 600,
        }.items()
    )


@pytest.mark.parametrize("kind", [InferInput, InferOutput])
class TestTensors:
    def test_describe_themselves(self, kind):
        tensor = kind("x", [2, 1], "FP32", [1.5, 2.5], {"p": 1})
        assert (tensor.name, tensor.shape, tensor.datatype) == ("x", [2, 1], "FP32")
        assert (tensor.data, tensor.parameters) == ([1.5, 2.5], {"p": 1})
        assert kind("x", [1], "INT8").data is None
        assert kind("x", [1], "INT8").parameters is None

    def test_decode_their_data_as_numpy(self, kind):
        array = kind("x", [2, 1], "FP32", [1.5, 2.5]).as_numpy()
        assert array.dtype == np.float32
        assert array.tolist() == [[1.5], [2.5]]

    def test_take_data_from_numpy_to_travel_as_bytes_or_in_json(self, kind):
        array = np.array([[1, 2]], np.int32)
        tensor = kind("x", [1, 2], "INT32")
        tensor.set_data_from_numpy(array)
        assert tensor.data is None
        assert tensor.parameters == {"binary_data_size": 8}
        assert tensor.as_numpy().tolist() == [[1, 2]]
        tensor.set_data_from_numpy(array, binary_data=False)
        assert tensor.data == [1, 2]
        assert tensor.parameters == {}

    def test_refuse_what_is_not_theirs(self, kind):
        tensor = kind("x", [2], "INT32")
        with pytest.raises(InferenceError, match="unexpected datatype FP64 from numpy array, expected INT32"):
            tensor.set_data_from_numpy(np.zeros(2))
        with pytest.raises(InferenceError, match=r"unexpected numpy array shape \[3,\], expected \[2\]"):
            tensor.set_data_from_numpy(np.zeros(3, np.int32))
        with pytest.raises(InferenceError, match="must be a numpy array"):
            tensor.set_data_from_numpy([1, 2])
        with pytest.raises(InvalidInput, match="invalid datatype"):
            kind("x", [1], "FP128", [1]).as_numpy()

    def test_take_another_shape(self, kind):
        tensor = kind("x", [4], "INT64", [1, 2, 3, 4])
        tensor.set_shape([2, 2])
        assert tensor.shape == [2, 2]
        assert tensor.as_numpy().tolist() == [[1, 2], [3, 4]]


def test_data_and_parameters_of_an_output_can_be_written_to():
    output = InferOutput("y", [1], "INT64", [1])
    output.data, output.parameters = [7], {"a": "b"}
    assert (output.data, output.parameters) == ([7], {"a": "b"})


class TestInferRequest:
    request = InferRequest(
        "m", [InferInput("a", [1], "INT64", [5]), InferInput("b", [1], "BYTES", ["t"])], "7"
    )

    def test_finds_an_input_by_its_name(self):
        assert self.request.get_input_by_name("b").datatype == "BYTES"
        assert self.request.get_input_by_name("c") is None

    def test_wants_raw_outputs_where_raw_inputs_came_over_grpc(self):
        def made(**more):
            return InferRequest("m", [InferInput("a", [1], "INT8")], raw_inputs=[b"\x01"], **more)

        assert made(from_grpc=True).use_binary_outputs is True
        assert made().use_binary_outputs is False
        assert made(parameters={"binary_data_output": True}).use_binary_outputs is True
        assert self.request.use_binary_outputs is False

    def test_is_a_document_for_rest(self):
        assert self.request.to_rest() == {
            "id": "7",
            "inputs": [
                {"name": "a", "shape": [1], "datatype": "INT64", "data": [5]},
                {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["t"]},
            ],
        }

    def test_is_a_message_for_grpc_and_comes_back(self):
        message = self.request.to_grpc()
        assert isinstance(message, messages.ModelInferRequest)
        assert list(message.inputs[0].contents.int64_contents) == [5]
        assert list(message.inputs[1].contents.bytes_contents) == [b"t"]
        again = InferRequest.from_grpc(message)
        assert (again.id, again.model_name, again.from_grpc) == ("7", "m", True)
        assert [tensor.data for tensor in again.inputs] == [[5], [b"t"]]

    def test_is_a_dataframe_with_a_column_an_input(self):
        frame = self.request.as_dataframe()
        assert frame.to_dict("records") == [{"a": 5, "b": "t"}]


class TestInferResponse:
    response = InferResponse(
        "7", "m", [InferOutput("y", [2], "FP32", [1.0, 2.0])], "3", parameters={"p": True}
    )

    def test_finds_an_output_by_its_name(self):
        assert self.response.get_output_by_name("y").shape == [2]
        assert self.response.get_output_by_name("z") is None

    def test_is_a_document_for_rest_and_comes_back(self):
        document = self.response.to_rest()
        assert document == {
            "id": "7",
            "model_name": "m",
            "model_version": "3",
            "outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}],
            "parameters": {"p": True},
        }
        assert InferResponse.from_rest("m", document) == self.response
        assert InferResponse.from_rest(model_name="m", response=document) == self.response

    def test_is_a_message_for_grpc_and_comes_back(self):
        message = self.response.to_grpc()
        assert isinstance(message, messages.ModelInferResponse)
        again = InferResponse.from_grpc(message)
        assert (again.id, again.model_name, again.model_version) == ("7", "m", "3")
        assert again.outputs[0].as_numpy().tolist() == [1.0, 2.0]
        assert again.parameters["p"].bool_param is True


def test_bytes_are_serialized_behind_their_length_and_come_back():
    array = np.array([[b"ab", b""]], dtype=object)
    flat = serialize_byte_tensor(array)
    assert flat.item() == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"
    assert deserialize_bytes_tensor(flat.item()).tolist() == [b"ab", b""]


def test_parameters_become_messages_and_plain_again():
    plain = {"text": "a", "truth": True, "number": 3}
    written = to_grpc_parameters(plain)
    assert written["text"].string_param == "a"
    assert written["truth"].bool_param is True
    assert written["number"].int64_param == 3
    assert to_http_parameters(written) == plain
    with pytest.raises(InvalidInput, match="invalid parameter value"):
        to_grpc_parameters({"list": [1]})
