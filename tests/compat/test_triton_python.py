"""The module of Triton's Python backend: what it gives, takes and refuses, without a server."""

import json

import numpy as np
import pytest

from dragoman.compat import install
from dragoman.compat.triton_python_backend_utils.host import Host, hosted
from dragoman.compat.triton_python_backend_utils.request import Received
from dragoman.compat.triton_python_backend_utils.response import InferenceResponseSender
from dragoman.types import InferRequest
from dragoman.types import Tensor as CoreTensor

install("triton_python_backend_utils")
install("c_python_backend_utils")

import c_python_backend_utils  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

ARRAY = np.array([[1.5, 2]], np.float32)


def config(**said):
    return pb_utils.ModelConfig(
        json.dumps({"name": "m", "max_batch_size": 0, "input": [], "output": []} | said)
    )


def received(**more):
    request = InferRequest("m", (CoreTensor("X", "FP32", ARRAY),), "3", "id", **more)
    sent = []
    sender = InferenceResponseSender(lambda *said: sent.append(said), lambda: False, lambda: None)
    return Received(request, ("Y", "Z"), sender), sent


def test_there_is_one_module_under_both_names():
    assert c_python_backend_utils.Tensor is pb_utils.Tensor


def test_a_tensor_says_what_it_is():
    tensor = pb_utils.Tensor("x", ARRAY)
    assert (tensor.name(), tensor.shape(), tensor.triton_dtype(), tensor.is_cpu()) == ("x", [1, 2], 11, True)
    assert tensor.as_numpy() is ARRAY


@pytest.mark.parametrize("array", [[1.5], np.array(["a"]), np.array([1j]), np.zeros(1, "datetime64[s]")])
def test_a_tensor_is_an_array_of_a_datatype(array):
    with pytest.raises(pb_utils.TritonModelException):
        pb_utils.Tensor("x", array)


def test_text_and_bytes_are_one_datatype():
    for array in (np.array(["é", b"\xff"], object), np.array(["é".encode(), b"\xff"])):
        core = pb_utils.Tensor("x", array).to_core()
        assert (core.datatype, core.data.tolist()) == ("BYTES", ["é".encode(), b"\xff"])
    with pytest.raises(pb_utils.TritonModelException, match="holds int where text or bytes belong"):
        pb_utils.Tensor("x", np.array([1], object)).to_core()


def test_an_input_may_be_written_and_nobody_else_sees_it():
    # row: read-only-inputs
    shared = ARRAY.copy()
    shared.flags.writeable = False
    tensor = pb_utils.Tensor.of(CoreTensor("x", "FP32", shared))
    data = tensor.as_numpy()
    data += 1
    assert tensor.as_numpy() is data
    assert shared.tolist() == ARRAY.tolist()


def test_dlpack_shares_memory_both_ways():
    tensor = pb_utils.Tensor.from_dlpack("y", pb_utils.Tensor("x", ARRAY).to_dlpack())
    assert np.shares_memory(tensor.to_core().data, ARRAY)
    assert (tensor.name(), tensor.triton_dtype(), tensor.as_numpy().tolist()) == ("y", 11, ARRAY.tolist())
    assert np.shares_memory(np.from_dlpack(pb_utils.Tensor("x", ARRAY)), ARRAY)
    assert pb_utils.Tensor.from_dlpack("y", ARRAY).as_numpy().tolist() == ARRAY.tolist()


def test_a_capsule_is_taken_once_and_nothing_else_is():
    capsule = pb_utils.Tensor("x", ARRAY).to_dlpack()
    pb_utils.Tensor.from_dlpack("y", capsule)
    for source in (capsule, 5):
        with pytest.raises(pb_utils.TritonModelException, match="expected a DLPack capsule"):
            pb_utils.Tensor.from_dlpack("y", source)


def test_only_main_memory_is_taken():
    # row: main-memory
    class Far:
        def __dlpack__(self):
            capsule = pb_utils.Tensor("x", ARRAY.copy()).to_dlpack()
            at = dlpack._pointer(capsule, b"dltensor")
            dlpack.ctypes.c_int32.from_address(at + 8).value = 2
            return capsule

    from dragoman.compat.triton_python_backend_utils import dlpack

    with pytest.raises(pb_utils.TritonModelException, match="only tensors in main memory"):
        pb_utils.Tensor.from_dlpack("y", Far())


@pytest.mark.torch
def test_bfloat16_comes_from_torch_and_goes_there():
    import torch

    tensor = pb_utils.Tensor.from_dlpack("x", torch.tensor([1.0, -2.0], dtype=torch.bfloat16))
    assert tensor.triton_dtype() == 14
    with pytest.raises(pb_utils.TritonModelException, match="bfloat16"):
        tensor.as_numpy()
    assert torch.from_dlpack(tensor.to_dlpack()).tolist() == [1.0, -2.0]


def test_datatypes_have_numbers_names_and_numpy_types():
    for name, kind in pb_utils.TRITON_STRING_TO_NUMPY.items():
        assert pb_utils.triton_string_to_numpy(name) is kind
        assert pb_utils.triton_to_numpy_type(pb_utils.numpy_to_triton_type(kind)) is kind
    assert pb_utils.numpy_to_triton_type(np.dtype("<f4")) == 11
    assert pb_utils.numpy_to_triton_type(np.complex64) is None


def test_bytes_are_written_one_after_another():
    array = np.array([b"ab", "é"], object)
    written = pb_utils.serialize_byte_tensor(array)
    assert written == b"\2\0\0\0ab\2\0\0\0\xc3\xa9"
    assert pb_utils.deserialize_bytes_tensor(written).tolist() == [b"ab", "é".encode()]
    assert pb_utils.serialize_byte_tensor(np.array([], object)) is None


def test_a_request_says_what_was_asked():
    own = {"sequence_id": "s", "sequence_start": True, "sequence_end": True, "a": 1}
    request, _ = received(parameters=own, timeout=5, priority=2)
    assert (request.model_name(), request.model_version(), request.request_id()) == ("m", 3, "id")
    assert (request.correlation_id(), request.flags(), request.timeout(), request.priority()) == (
        "s",
        3,
        5,
        2,
    )
    assert (json.loads(request.parameters()), request.requested_output_names()) == ({"a": 1}, ["Y", "Z"])
    assert pb_utils.get_input_tensor_by_name(request, "X").as_numpy().tolist() == ARRAY.tolist()
    assert pb_utils.get_input_tensor_by_name(request, "Y") is None
    assert request.trace().get_context() is None
    assert request.preferred_memory().preferred_memory_type() == pb_utils.MemoryType.DEFAULT
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)
    with pytest.raises(pb_utils.TritonModelException):
        request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)


def test_a_sender_sends_until_it_has_sent_the_last():
    request, sent = received()
    sender = request.get_response_sender()
    response = pb_utils.InferenceResponse([])
    for said, told in (
        ((), "must be provided"),
        ((response, 7), "Unsupported flag"),
        ((5,), "expected an InferenceResponse"),
    ):
        with pytest.raises(pb_utils.TritonModelException, match=told):
            sender.send(*said)
    sender.send(response)
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    with pytest.raises(pb_utils.TritonModelException, match="has been closed"):
        sender.send(response)
    assert sent == [(response, False), (None, True)]
    assert not sender.is_cancelled()


def test_a_response_is_tensors_and_plain_parameters_or_an_error():
    error = pb_utils.TritonError("no", pb_utils.TritonError.NOT_FOUND)
    assert (str(error), error.message(), error.code()) == ("no", "no", 2)
    response = pb_utils.InferenceResponse(error=error)
    assert (response.has_error(), response.error(), response.output_tensors()) == (True, error, [])
    tensor = pb_utils.Tensor("x", ARRAY)
    assert pb_utils.get_output_tensor_by_name(pb_utils.InferenceResponse([tensor]), "x") is tensor
    for wrong in ({"output_tensors": [ARRAY]}, {"parameters": {"a": [1]}}):
        with pytest.raises(pb_utils.TritonModelException):
            pb_utils.InferenceResponse(**wrong)


def test_a_configuration_is_completed_and_not_contradicted():
    made = config(input=[{"name": "x", "data_type": "TYPE_FP32", "dims": []}])
    made.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [4]})
    made.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [4]})
    made.set_max_batch_size(4)
    made.set_dynamic_batching()
    made.set_model_transaction_policy({"decoupled": True})
    found = made.as_dict()
    assert pb_utils.get_input_config_by_name(found, "x")["dims"] == [4]
    assert pb_utils.get_output_config_by_name(found, "y")["data_type"] == "TYPE_FP32"
    assert pb_utils.get_output_config_by_name(found, "z") is None
    assert (found["max_batch_size"], found["dynamic_batching"]) == (4, {})
    assert pb_utils.using_decoupled_model_transaction_policy(found)
    assert not pb_utils.using_decoupled_model_transaction_policy({})
    for call in (
        lambda: made.set_max_batch_size(2),
        lambda: made.add_input({"name": "x", "data_type": "TYPE_INT8", "dims": [4]}),
        lambda: made.add_input({"name": "z", "dims": [4]}),
        lambda: made.add_output({"name": "z", "data_type": "TYPE_INT8", "dims": [4], "optional": True}),
        lambda: made.set_model_transaction_policy({"coupled": True}),
        lambda: config(sequence_batching={}).set_dynamic_batching(),
    ):
        with pytest.raises(ValueError, match=r"m'|'m"):
            call()


def test_nobody_is_asked_before_anybody_can_be():
    # row: asking-late
    question = pb_utils.InferenceRequest("other", ["y"], [pb_utils.Tensor("x", ARRAY)])
    with (
        hosted(Host("m")),
        pytest.raises(pb_utils.TritonModelException, match="'m' can't ask other models here"),
    ):
        question.exec()


def test_models_load_no_models():
    # row: no-loading
    for call in (pb_utils.load_model, pb_utils.unload_model):
        with pytest.raises(pb_utils.TritonModelException):
            call("other")


def test_each_kind_of_metric_is_changed_in_its_own_way():
    # row: histogram-buckets
    host = Host("m")
    family = pb_utils.MetricFamily
    with hosted(host):
        counter = family("c", "a counter", family.COUNTER).Metric(labels={"a": "b"})
        gauge = family("g", "a gauge", family.GAUGE).Metric()
        histogram = family("h", "a histogram", family.HISTOGRAM).Metric(buckets=[1, 2])
    counter.increment(2)
    counter.increment(1)
    gauge.set(5)
    gauge.increment(-2)
    histogram.observe(0.5)
    assert (counter.value(), gauge.value()) == (3, 3)
    told = [(value.name, value.kind, value.labels, value.value) for value in host.pending.take()]
    assert told == [
        ("c", "counter", (("a", "b"),), 3),
        ("g", "gauge", (), 3),
        ("h", "histogram", (), 0.5),
    ]
    for call in (
        lambda: counter.set(1),
        lambda: counter.increment(-1),
        lambda: gauge.observe(1),
        lambda: histogram.increment(1),
        lambda: histogram.value(),
        lambda: family("x", "", 7),
    ):
        with pytest.raises(pb_utils.TritonModelException):
            call()


def test_lines_of_the_log_are_the_models(caplog):
    with hosted(Host("m")), caplog.at_level("DEBUG"):
        pb_utils.Logger.log_info("one")
        pb_utils.Logger().log_warn("two")
        pb_utils.Logger.log("three", pb_utils.Logger.ERROR)
        pb_utils.Logger.log_verbose("four")
    told = [(record.name, record.levelname, record.message) for record in caplog.records]
    assert told == [
        ("dragoman.models.m", "INFO", "one"),
        ("dragoman.models.m", "WARNING", "two"),
        ("dragoman.models.m", "ERROR", "three"),
        ("dragoman.models.m", "DEBUG", "four"),
    ]
