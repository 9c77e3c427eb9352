"""From the server's requests to those that KServe's models know, and from their answers back; and what that saves."""

import numpy as np
import pytest

from dragoman import types
from dragoman.compat.kserve.protocol.core import from_core, to_core
from dragoman.compat.kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse
from dragoman.compat.kserve.utils.utils import get_predict_response
from dragoman.errors import InvalidOutput, ModelFailed

F4 = np.arange(4, dtype=np.float32).reshape(2, 2)
F4.flags.writeable = False


def bytes_of(*elements):
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def core(*tensors, **more):
    return types.InferRequest("m", tensors, **more)


def served(datatype, array, **more):
    return from_core(core(types.Tensor("x", datatype, array)), **more).inputs[0]


def answer(*outputs, **more):
    return to_core(InferResponse("7", "m", list(outputs), **more), "3")


def output(data=None, datatype="FP32", shape=(2, 2), **more):
    return InferOutput("y", list(shape), datatype, data, **more)


class TestFromCore:
    def test_a_request_is_what_kserve_s_would_be(self):
        tensor = types.Tensor("x", "FP32", F4, {"p": 1})
        request = from_core(core(tensor, id="7", version="2", outputs=("y",), parameters={"q": "r"}))
        assert request == InferRequest(
            "m",
            [InferInput("x", [2, 2], "FP32", [0.0, 1.0, 2.0, 3.0], {"p": 1})],
            "7",
            parameters={"q": "r"},
            request_outputs=request.request_outputs,
        )
        assert request.model_version == "2"
        assert [wanted.name for wanted in request.request_outputs] == ["y"]

    def test_what_is_not_there_is_none(self):
        request = from_core(core(types.Tensor("x", "FP32", F4)))
        assert (request.id, request.parameters) == (None, None)
        assert (request.request_outputs, request.model_version) == (None, None)
        assert request.from_grpc is False

    def test_what_came_over_grpc_says_so(self):
        tensor = types.Tensor("x", "FP32", F4)
        request = from_core(core(tensor, parameters={"p": 5}), from_grpc=True, raw=True)
        assert request.from_grpc is True
        assert request.parameters["p"].int64_param == 5
        assert request.inputs[0].parameters == {}

    def test_a_model_may_change_its_copy_of_what_the_server_has(self):
        tensor = types.Tensor("x", "FP32", F4, {"p": 1})
        made = from_core(core(tensor, parameters={"q": 1}))
        made.parameters["q"] = made.inputs[0].parameters["p"] = 2
        made.inputs[0].as_numpy()[:] = 9
        assert tensor.parameters == {"p": 1}
        assert F4[0, 1] == 1

    def test_only_raw_arrays_over_grpc_are_views_as_they_are_there(self):
        assert np.shares_memory(served("FP32", F4, from_grpc=True, raw=True).as_numpy(), F4)
        assert served("FP32", F4, from_grpc=True).as_numpy().flags.writeable
        assert served("FP32", F4, raw=True).as_numpy().flags.writeable

    def test_any_output_can_be_set_as_raw_bytes(self):
        # row: served-outputs
        request = from_core(core(types.Tensor("x", "FP32", F4)))
        assert request.use_binary_outputs is True
        made = get_predict_response(request, np.array([b"\xff"], dtype=object), "m")
        assert to_core(made).outputs[0].data.tolist() == [b"\xff"]

    def test_text_is_text_over_rest_and_bytes_over_grpc(self):
        array = bytes_of(b"a", "ü".encode())
        assert served("BYTES", array).data == ["a", "ü"]
        assert served("BYTES", array).as_numpy().tolist() == ["a", "ü"]
        assert served("BYTES", array, from_grpc=True).data == [b"a", "ü".encode()]
        assert served("BYTES", array, from_grpc=True).as_numpy().tolist() == [b"a", "ü".encode()]
        assert served("BYTES", array).as_string() == ["a", "ü"]

    def test_bytes_that_are_no_text_stay_bytes(self):
        # row: binary-strings
        tensor = served("BYTES", bytes_of(b"a", b"\xff"))
        assert tensor.data == [b"a", b"\xff"]
        assert tensor.as_numpy().tolist() == [b"a", b"\xff"]
        assert tensor.is_raw

    def test_half_floats_are_what_they_are(self):
        assert served("FP16", F4.astype("f2")).as_numpy().dtype == np.float16
        assert served("BF16", np.array([0x3F80], "<u2")).as_numpy().tolist() == [0x3F80]

    def test_a_list_that_was_changed_is_what_counts(self):
        tensor = served("FP32", F4)
        tensor.data[0] = 8.5
        assert tensor.as_numpy().tolist() == [[8.5, 1.0], [2.0, 3.0]]
        text = served("BYTES", bytes_of(b"a", b"b"))
        text.data[1] = "changed"
        assert text.as_numpy().tolist() == ["a", "changed"]


class TestToCore:
    def test_an_answer_is_the_server_s(self):
        said = output([1.5, 2, 3, 4], parameters={"p": 1})
        made = answer(said, parameters={"q": True}, model_version="5")
        assert (made.model, made.version, made.id) == ("m", "5", "7")
        assert made.parameters == {"q": True}
        (tensor,) = made.outputs
        assert (tensor.name, tensor.datatype, tensor.parameters) == ("y", "FP32", {"p": 1})
        assert tensor.data.dtype == np.float32
        assert tensor.data.tolist() == [[1.5, 2.0], [3.0, 4.0]]

    def test_the_model_s_version_is_there_where_the_answer_has_none(self):
        assert answer(output(F4)).version == "3"
        assert to_core(InferResponse(None, "m", [])).id == ""

    @pytest.mark.parametrize("binary", [True, False])
    def test_what_was_set_from_numpy_is_handed_on_without_a_list(self, binary):
        made = output()
        made.set_data_from_numpy(F4, binary_data=binary)
        (tensor,) = answer(made).outputs
        assert tensor.data is made._array
        assert tensor.parameters == {}  # the server writes sizes itself

    @pytest.mark.parametrize(
        ("data", "datatype", "shape", "expected"),
        [
            ([[1, 2], [3, 4]], "INT64", (2, 2), [[1, 2], [3, 4]]),
            ([1, 2, 3, 4], "INT64", (2, 2), [[1, 2], [3, 4]]),
            ([1, 2], "FP32", (2,), [1.0, 2.0]),
            ([True, 0], "BOOL", (2,), [True, False]),
            (["a", b"\xff"], "BYTES", (2,), [b"a", b"\xff"]),
            (np.array(["a"], dtype=object), "BYTES", (1,), [b"a"]),
            ([0x3F80], "BF16", (1,), [0x3F80]),
            ([], "FP32", (0,), []),
        ],
    )
    def test_lists_and_arrays_become_arrays_of_their_datatype(self, data, datatype, shape, expected):
        assert answer(output(data, datatype, shape)).outputs[0].data.tolist() == expected

    @pytest.mark.parametrize(
        ("data", "datatype", "shape", "told"),
        [
            ([1.5], "INT32", (1,), "says INT32 but holds float64"),
            ([300], "INT8", (1,), "300"),
            (["a"], "FP32", (1,), "says FP32 but holds <U1"),
            ([None], "FP32", (1,), "says FP32 but holds object"),
            ([[1], [2, 3]], "FP32", (3,), "different lengths"),
            ([1, 2, 3], "FP32", (2,), r"shape \[2\]"),
            (np.zeros(2), "FP32", (2,), "unexpected datatype FP64 from numpy array, expected FP32"),
            (np.zeros(2, np.float32), "FP32", (1,), r"array shape \[2,\], expected \[1\]"),
            (None, "FP32", (1,), "has no data"),
            ([1], "FP128", (1,), "datatype 'FP128'"),
        ],
    )
    def test_what_numpy_would_change_without_a_word_is_refused(self, data, datatype, shape, told):
        # row: checked-outputs
        with pytest.raises(InvalidOutput, match=told) as failure:
            answer(output(data, datatype, shape))
        assert isinstance(failure.value, ModelFailed)

    def test_a_shape_that_was_set_later_counts(self):
        made = output()
        made.set_data_from_numpy(F4)
        made.set_shape([4])
        assert answer(made).outputs[0].data.shape == (4,)
        made.set_shape([5])
        with pytest.raises(InvalidOutput, match="4 elements"):
            answer(made)

    def test_contents_and_parameters_of_messages_are_taken_out(self):
        message = InferResponse("1", "m", [output([1, 2, 3, 4])], parameters={"p": 2}).to_grpc()
        given = InferResponse("1", "m", [output(message.outputs[0].contents)])
        for made in (InferResponse.from_grpc(message), given):
            assert to_core(made).outputs[0].data.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert to_core(InferResponse.from_grpc(message)).parameters == {"p": 2}

    def test_raw_bytes_of_an_answer_are_read(self):
        made = InferResponse("1", "m", [output()], raw_outputs=[F4.tobytes()])
        assert to_core(made).outputs[0].data.tolist() == F4.tolist()

    def test_what_scikit_learn_gives_is_an_answer(self):
        request = from_core(core(types.Tensor("x", "FP32", F4), id="9"))
        made = to_core(get_predict_response(request, np.array([1, 0]), "m"))
        assert (made.id, made.outputs[0].name, made.outputs[0].data.tolist()) == ("9", "output-0", [1, 0])
