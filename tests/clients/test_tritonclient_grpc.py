"""Triton's gRPC client, unmodified: the one of threads, its streams, and the one of asyncio."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from dragoman import __version__
from tests.clients.datatypes import SAMPLES, SHAPES, same
from tests.clients.pools import triton, triton_aio

A = np.array([[1, 2, 3, 4]], np.float32)
B = np.full((1, 4), 0.5, np.float32)
PATIENCE = 60


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def an_input(name, datatype, data):
    return triton.InferInput(name, list(data.shape), datatype).set_data_from_numpy(data)


def two_inputs(a=A):
    return [an_input("INPUT0", "FP32", a), an_input("INPUT1", "FP32", B)]


class Stream:
    """One stream and what came back on it."""

    def __init__(self, server, **options):
        self._client = triton.InferenceServerClient(server.grpc)
        self._came = SimpleQueue()
        self._client.start_stream(lambda result, error: self._came.put(error or result), **options)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._client.stop_stream()
        self._client.close()

    def send(self, model, inputs, **options):
        self._client.async_stream_infer(model, inputs, **options)

    def next(self):
        return self._came.get(timeout=PATIENCE)


class TestHealthAndMetadata:
    def test_server_and_models_are_ready(self, client):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("Echo")
        assert client.is_model_ready("Echo", "1")

    def test_what_is_not_there_is_not_ready(self, client):
        assert not client.is_model_ready("nope")
        assert not client.is_model_ready("Echo", "7")

    def test_a_server_of_which_a_model_failed_is_live_and_not_ready(self, broken_server):
        with triton.InferenceServerClient(broken_server.grpc) as broken:
            assert broken.is_server_live()
            assert not broken.is_server_ready()
            assert broken.is_model_ready("Echo")
            assert not broken.is_model_ready("Broken")

    def test_the_server_tells_who_it_is(self, client):
        metadata = client.get_server_metadata()
        assert (metadata.name, metadata.version) == ("dragoman", __version__)
        assert "binary_tensor_data" in metadata.extensions

    def test_a_model_tells_its_tensors(self, client):
        metadata = client.get_model_metadata("Labelled", as_json=True)
        assert metadata["inputs"][1] == {"name": "INPUT1", "datatype": "FP32", "shape": ["-1", "4"]}
        assert metadata["versions"] == ["1"]

    def test_a_model_tells_its_configuration(self, client):
        config = client.get_model_config("Labelled").config
        assert config.max_batch_size == 8
        assert [(i.name, i.dims) for i in config.input] == [("INPUT0", [4]), ("INPUT1", [4])]
        assert client.get_model_config("Labelled", "1").config == config

    def test_the_index_tells_every_model(self, client):
        models = client.get_model_repository_index().models
        assert [(m.name, m.version, m.state) for m in models] == [
            (name, "1", "READY") for name in ("Echo", "Iris", "Labelled", "Slow")
        ]

    def test_statistics_grow_with_requests(self, client):
        def count():
            (stats,) = client.get_inference_statistics("Labelled").model_stats
            assert stats.inference_stats.success.ns >= stats.inference_stats.compute_infer.ns > 0
            return stats.inference_stats.success.count, stats.inference_count

        client.infer("Labelled", two_inputs())
        success, rows = count()
        client.infer("Labelled", two_inputs())
        assert count() == (success + 1, rows + 1)
        assert {s.name for s in client.get_inference_statistics().model_stats} >= {"Echo", "Labelled"}

    @pytest.mark.parametrize(
        "ask",
        [
            lambda client: client.get_system_shared_memory_status(),
            lambda client: client.register_system_shared_memory("r", "/k", 64),
            lambda client: client.unregister_system_shared_memory(),
            lambda client: client.get_cuda_shared_memory_status(),
            lambda client: client.unregister_cuda_shared_memory(),
            lambda client: client.get_trace_settings(),
            lambda client: client.update_trace_settings("Echo", {"trace_rate": "5"}),
            lambda client: client.get_log_settings(),
            lambda client: client.update_log_settings({"log_verbose_level": 1}),
        ],
    )
    def test_what_is_not_offered_says_so(self, client, ask):
        with pytest.raises(InferenceServerException, match=r"[a-z]{3,} [a-z]{2,}") as caught:
            ask(client)
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


class TestInference:
    @pytest.mark.parametrize("datatype", SAMPLES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_every_datatype_travels(self, client, datatype, shape):
        data = SAMPLES[datatype].reshape(shape)
        answer = client.infer("Echo", [an_input("x", datatype, data)])
        assert same(answer.as_numpy("x"), data)

    @pytest.mark.parametrize("datatype", SAMPLES)
    def test_empty_tensors_travel(self, client, datatype):
        data = np.empty((0, 3), SAMPLES[datatype].dtype)
        answer = client.infer("Echo", [an_input("x", datatype, data)])
        assert answer.as_numpy("x").shape == (0, 3)

    def test_a_tensor_of_sixty_megabytes_travels(self, client):
        data = np.arange(15_000_000, dtype=np.float32)
        answer = client.infer("Echo", [an_input("x", "FP32", data), an_input("y", "FP32", A)])
        assert same(answer.as_numpy("x"), data)
        assert same(answer.as_numpy("y"), A)

    def test_outputs_ids_and_versions_are_the_client_s(self, client):
        answer = client.infer(
            "Labelled",
            two_inputs(),
            model_version="1",
            request_id="seven",
            outputs=[triton.InferRequestedOutput("OUTPUT1")],
            priority=1,
            timeout=30_000_000,
            parameters={"any": "thing", "number": 7, "flag": True},
        )
        response = answer.get_response()
        assert (response.id, response.model_name, response.model_version) == ("seven", "Labelled", "1")
        assert [output.name for output in response.outputs] == ["OUTPUT1"]
        assert same(answer.as_numpy("OUTPUT1"), A - B)

    def test_classes_come_best_first(self, client):
        outputs = [triton.InferRequestedOutput("OUTPUT0", class_count=2)]
        answer = client.infer("Labelled", two_inputs(), outputs=outputs)
        assert answer.as_numpy("OUTPUT0").tolist() == [[b"4.500000:3:fish", b"3.500000:2:bird"]]

    @pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
    def test_requests_may_be_compressed(self, client, algorithm):
        answer = client.infer("Labelled", two_inputs(), compression_algorithm=algorithm)
        assert same(answer.as_numpy("OUTPUT0"), A + B)

    def test_callbacks_get_their_own_answers(self, client):
        came = SimpleQueue()
        for number in range(90):
            client.async_infer(
                "Labelled",
                two_inputs(np.full((1, 4), number, np.float32)),
                lambda result, error, number=number: came.put((number, result, error)),
            )
        for _ in range(90):
            number, result, error = came.get(timeout=PATIENCE)
            assert error is None
            assert result.as_numpy("OUTPUT0").tolist() == [[number + 0.5] * 4]

    def test_threads_get_their_own_answers(self, client):
        def ask(number):
            answer = client.infer("Labelled", two_inputs(np.full((1, 4), number, np.float32)))
            return answer.as_numpy("OUTPUT0")[0, 0]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(200))) == [number + 0.5 for number in range(200)]

    def test_a_request_that_is_cancelled_gives_its_place_to_the_next(self, server, client):
        done = threading.Event()
        data = an_input("x", "FP32", np.ones(1, np.float32))
        context = client.async_infer("Slow", [data], lambda result, error: done.set())
        context.cancel()
        assert done.wait(PATIENCE)
        assert client.infer("Slow", [data]).as_numpy("y").tolist() == [1]

    def test_a_deadline_counts_the_queue(self, server, client):
        """Of what waited longer than it had, nothing is executed."""
        stats = server.app.engine.find("Slow").stats
        data = an_input("x", "FP32", np.ones(1, np.float32))
        came = SimpleQueue()
        before = server.call(lambda: stats.execute.count)
        client.async_infer("Slow", [data], lambda result, error: came.put(error))
        for _ in range(3):
            client.async_infer("Slow", [data], lambda result, error: came.put(error), client_timeout=0.05)
        errors = [came.get(timeout=PATIENCE) for _ in range(4)]
        assert sorted(str(error and error.status()) for error in errors) == [
            "None",
            *["StatusCode.DEADLINE_EXCEEDED"] * 3,
        ]
        client.infer("Slow", [data])
        assert server.call(lambda: stats.execute.count) - before <= 3

    @pytest.mark.parametrize(
        ("model", "inputs", "status", "words"),
        [
            ("nope", two_inputs(), "NOT_FOUND", "Request for unknown model: 'nope' is not found"),
            ("Labelled", two_inputs()[:1], "INVALID_ARGUMENT", "missing required input"),
            (
                "Labelled",
                [an_input("INPUT0", "INT64", np.ones(1, int))] * 2,
                "INVALID_ARGUMENT",
                "already exists",
            ),
        ],
    )
    def test_mistakes_are_told_in_triton_s_words(self, client, model, inputs, status, words):
        with pytest.raises(InferenceServerException, match=words) as caught:
            client.infer(model, inputs)
        assert caught.value.status() == f"StatusCode.{status}"


class TestStreams:
    def test_answers_come_in_the_order_of_their_requests(self, server):
        """Even where a later one is ready first."""
        with Stream(server) as stream:
            stream.send("Slow", [an_input("x", "FP32", np.ones(1, np.float32))], request_id="slow")
            for number in range(20):
                stream.send("Labelled", two_inputs(), request_id=str(number))
            answers = [stream.next().get_response() for _ in range(21)]
        assert [answer.id for answer in answers] == ["slow", *map(str, range(20))]
        assert all(answer.parameters["triton_final_response"].bool_param for answer in answers)

    def test_an_error_is_an_answer_like_others(self, server):
        with Stream(server) as stream:
            stream.send("nope", two_inputs(), request_id="bad")
            stream.send("Labelled", two_inputs(), request_id="good")
            error, answer = stream.next(), stream.next()
        assert isinstance(error, InferenceServerException)
        assert error.message() == "Request for unknown model: 'nope' is not found"
        assert answer.get_response().id == "good"

    def test_an_error_ends_the_stream_where_the_client_wants_statuses(self, server):
        with Stream(server, headers={"triton_grpc_error": "true"}) as stream:
            stream.send("Labelled", two_inputs(), request_id="good")
            assert stream.next().get_response().id == "good"
            stream.send("nope", two_inputs(), request_id="bad")
            error = stream.next()
        assert error.status() == "StatusCode.NOT_FOUND"

    def test_a_stream_that_is_cancelled_ends_at_once(self, server):
        client = triton.InferenceServerClient(server.grpc)
        came = SimpleQueue()
        client.start_stream(lambda result, error: came.put(error or result))
        for _ in range(5):
            client.async_stream_infer("Slow", [an_input("x", "FP32", np.ones(1, np.float32))])
        client.stop_stream(cancel_requests=True)
        client.close()
        with Stream(server) as stream:
            stream.send("Labelled", two_inputs())
            assert same(stream.next().as_numpy("OUTPUT0"), A + B)


class TestAsyncio:
    @staticmethod
    def ask(server, function):
        async def run():
            async with triton_aio.InferenceServerClient(server.grpc) as client:
                return await function(client)

        return asyncio.run(run())

    def test_requests_and_metadata(self, server):
        async def run(client):
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("Labelled")).versions == ["1"]
            answers = await asyncio.gather(*(client.infer("Labelled", two_inputs()) for _ in range(50)))
            return [answer.as_numpy("OUTPUT0") for answer in answers]

        assert all(same(answer, A + B) for answer in self.ask(server, run))

    def test_a_stream(self, server):
        async def run(client):
            async def requests():
                for number in range(10):
                    yield {"model_name": "Labelled", "inputs": two_inputs(), "request_id": str(number)}

            ids = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                ids.append(result.get_response().id)
            return ids

        assert self.ask(server, run) == [str(number) for number in range(10)]
