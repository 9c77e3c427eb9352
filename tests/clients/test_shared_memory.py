"""Triton's clients, unmodified, and memory that they share with the server: programs as its examples have them."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor, serialized_byte_size

from dragoman.config import LimitSettings, ModelSettings, ServerSettings, Settings
from dragoman.testing import TestClient
from tests.clients.models import Echo, Labelled
from tests.memory import SharedObject, shared_object

A = np.arange(16, dtype=np.float32).reshape(4, 4)
B = np.full((4, 4), 0.5, np.float32)


class Waiting:
    """Answers when the test says so."""

    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}
    begun = threading.Event()
    go = threading.Event()

    def predict(self, x):
        self.begun.set()
        assert self.go.wait(60)
        return x * 2


@pytest.fixture(scope="module")
def server():
    settings = Settings(
        server=ServerSettings(client_shm=True),
        limits=LimitSettings(body_bytes=1_000_000),
        models=ModelSettings(execution="thread"),
    )
    with TestClient(Echo, Labelled, Waiting, settings=settings) as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def library(request):
    return {"http": triton_http, "grpc": triton_grpc}[request.param]


@pytest.fixture
def client(server, library):
    address = server.grpc if library is triton_grpc else f"127.0.0.1:{server.app.port}"
    with library.InferenceServerClient(address) as client:
        yield client
        client.unregister_system_shared_memory()


@contextmanager
def region(client, name, size):
    """A region that is registered under its name."""
    key = SharedObject(1)
    key.unlink()
    handle = shm.create_shared_memory_region(name, key.key, size)
    try:
        client.register_system_shared_memory(name, key.key, size)
        yield handle
        client.unregister_system_shared_memory(name)
    finally:
        shm.destroy_shared_memory_region(handle)


def in_region(library, name, shape, datatype, region, size, offset=0):
    made = library.InferInput(name, list(shape), datatype)
    made.set_shared_memory(region, size, offset)
    return made


def out_region(library, name, region, size, offset=0):
    made = library.InferRequestedOutput(name)
    made.set_shared_memory(region, size, offset)
    return made


def refused(ask):
    with pytest.raises(InferenceServerException) as caught:
        ask()
    return caught.value


def names(client):
    status = client.get_system_shared_memory_status()
    return {each["name"] for each in status} if isinstance(status, list) else set(status.regions)


def test_a_program_that_shares_inputs_and_outputs(client, library):
    size = A.nbytes
    with region(client, "input_data", 2 * size) as given, region(client, "output_data", 2 * size) as taken:
        shm.set_shared_memory_region(given, [A, B])
        assert names(client) == {"input_data", "output_data"}
        answer = client.infer(
            "Labelled",
            [
                in_region(library, "INPUT0", (4, 4), "FP32", "input_data", size),
                in_region(library, "INPUT1", (4, 4), "FP32", "input_data", size, size),
            ],
            outputs=[
                out_region(library, "OUTPUT0", "output_data", size),
                out_region(library, "OUTPUT1", "output_data", size, size),
            ],
        )
        output = answer.get_output("OUTPUT0")
        shape = output["shape"] if isinstance(output, dict) else output.shape
        assert np.array_equal(shm.get_contents_as_numpy(taken, np.float32, list(shape)), A + B)
        assert np.array_equal(shm.get_contents_as_numpy(taken, np.float32, [4, 4], size), A - B)
    assert names(client) == set()


def test_a_program_that_shares_strings(client, library):
    texts = np.array([b"", "ää".encode(), b"\x00\xff" * 9], object)
    serialized = serialize_byte_tensor(texts)
    size = serialized_byte_size(serialized)
    with region(client, "input_data", size) as given, region(client, "output_data", 1000) as taken:
        shm.set_shared_memory_region(given, [serialized])
        inputs = [in_region(library, "x", (3,), "BYTES", "input_data", size)]
        client.infer("Echo", inputs, outputs=[out_region(library, "x", "output_data", 1000)])
        assert shm.get_contents_as_numpy(taken, np.object_, [3]).tolist() == texts.tolist()


def test_a_tensor_in_memory_goes_together_with_one_in_the_request(client, library):
    with region(client, "r", A.nbytes) as given:
        shm.set_shared_memory_region(given, [A])
        second = library.InferInput("INPUT1", [4, 4], "FP32").set_data_from_numpy(B)
        inputs = [in_region(library, "INPUT0", (4, 4), "FP32", "r", A.nbytes), second]
        outputs = [out_region(library, "OUTPUT0", "r", A.nbytes), library.InferRequestedOutput("OUTPUT1")]
        answer = client.infer("Labelled", inputs, outputs=outputs)
        assert np.array_equal(answer.as_numpy("OUTPUT1"), A - B)
        assert np.array_equal(shm.get_contents_as_numpy(given, np.float32, [4, 4]), A + B)


def test_a_stream_writes_to_memory_too(server):
    answers = []
    with triton_grpc.InferenceServerClient(server.grpc) as client, region(client, "r", 8) as memory:
        shm.set_shared_memory_region(memory, [np.array([1, 2], np.float32)])
        came = threading.Event()
        client.start_stream(lambda result, error: (answers.append((result, error)), came.set()))
        client.async_stream_infer(
            "Echo",
            [in_region(triton_grpc, "x", (1,), "FP32", "r", 4, 4)],
            outputs=[out_region(triton_grpc, "x", "r", 4)],
        )
        assert came.wait(60)
        client.stop_stream()
        assert answers[0][1] is None
        assert shm.get_contents_as_numpy(memory, np.float32, [2]).tolist() == [2, 2]


def test_memory_may_be_truncated_and_unregistered_while_a_request_runs(server):
    Waiting.begun.clear()
    Waiting.go.clear()
    with (
        triton_http.InferenceServerClient(f"127.0.0.1:{server.app.port}", concurrency=2) as client,
        shared_object(8, np.array([1, 2], np.float32).tobytes()) as memory,
        shared_object(8) as other,
    ):
        client.register_system_shared_memory("r", memory.key, 8)
        client.register_system_shared_memory("other", other.key, 8)
        inputs = [in_region(triton_http, "x", (2,), "FP32", "r", 8)]
        outputs = [out_region(triton_http, "y", "other", 8)]
        running = client.async_infer("Waiting", inputs, outputs=outputs)
        assert Waiting.begun.wait(60)
        memory.truncate(0)
        client.unregister_system_shared_memory()
        Waiting.go.set()
        running.get_result()
        assert np.frombuffer(other.read(), np.float32).tolist() == [2, 4]
        client.register_system_shared_memory("other", other.key, 8)
        other.truncate(0)
        inputs = [in_region(triton_http, "x", (2,), "FP32", "other", 8)]
        assert "smaller now" in refused(lambda: client.infer("Waiting", inputs)).message()
        assert other.read() == b""
        client.unregister_system_shared_memory()
    assert server.app.engine.ready


def test_what_a_request_names_in_memory_counts_as_its_body(client, library):
    with region(client, "r", 800_000):
        inputs = [in_region(library, name, (800_000,), "UINT8", "r", 800_000) for name in "xy"]
        error = refused(lambda: client.infer("Echo", inputs))
        assert error.status() in ("413", "StatusCode.RESOURCE_EXHAUSTED")
        assert "limits.body_bytes" in error.message()
        client.infer("Echo", inputs[:1], outputs=[out_region(library, "x", "r", 800_000)])


def test_memory_of_gpus_is_not_there(client):
    assert not getattr(client.get_cuda_shared_memory_status(), "regions", None)
    error = refused(lambda: client.register_cuda_shared_memory("c", b"AAAA", 0, 64))
    assert error.message() == "failed to register CUDA shared memory region: 'c', GPUs not supported"
    client.unregister_cuda_shared_memory()


def test_a_page_of_another_site_registers_nothing(server):
    answer = server.request(
        "POST",
        "/v2/systemsharedmemory/region/r/register",
        b'{"key": "/r", "byte_size": 1}',
        {"Origin": "https://example.com"},
    )
    assert answer.status == 403
