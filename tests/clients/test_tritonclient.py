"""Triton's HTTP client, unmodified: the one of threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from dragoman import __version__
from tests.clients.datatypes import SAMPLES, SHAPES, TEXTS, same

A = np.array([[1, 2, 3, 4]], np.float32)
B = np.full((1, 4), 0.5, np.float32)


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.app.port}", concurrency=8) as client:
        yield client


@pytest.fixture
def broken(broken_server):
    with triton.InferenceServerClient(f"127.0.0.1:{broken_server.app.port}") as client:
        yield client


def an_input(name, datatype, data, binary=True):
    made = triton.InferInput(name, list(data.shape), datatype)
    return made.set_data_from_numpy(data, binary_data=binary)


def two_inputs(binary=(True, True)):
    return [an_input("INPUT0", "FP32", A, binary[0]), an_input("INPUT1", "FP32", B, binary[1])]


def echo(client, datatype, data, binary_in, binary_out):
    outputs = [triton.InferRequestedOutput("x", binary_data=binary_out)]
    answer = client.infer("Echo", [an_input("x", datatype, data, binary_in)], outputs=outputs)
    return answer.as_numpy("x")


class TestHealthAndMetadata:
    def test_server_and_models_are_ready(self, client):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("Echo")
        assert client.is_model_ready("Echo", "1")

    def test_what_is_not_there_is_not_ready(self, client):
        assert not client.is_model_ready("nope")
        assert not client.is_model_ready("Echo", "7")

    def test_a_server_of_which_a_model_failed_is_live_and_not_ready(self, broken):
        assert broken.is_server_live()
        assert not broken.is_server_ready()
        assert broken.is_model_ready("Echo")
        assert not broken.is_model_ready("Broken")

    def test_the_server_tells_who_it_is(self, client):
        metadata = client.get_server_metadata()
        assert metadata["name"] == "dragoman"
        assert metadata["version"] == __version__
        assert "binary_tensor_data" in metadata["extensions"]

    def test_a_model_tells_its_tensors(self, client):
        assert client.get_model_metadata("Labelled") == client.get_model_metadata("Labelled", "1")
        metadata = client.get_model_metadata("Labelled")
        assert metadata["inputs"][1] == {"name": "INPUT1", "datatype": "FP32", "shape": [-1, 4]}
        assert metadata["versions"] == ["1"]

    def test_a_model_tells_its_configuration(self, client):
        config = client.get_model_config("Labelled")
        assert config["max_batch_size"] == 8
        assert config["input"][0]["data_type"] == "TYPE_FP32"
        assert client.get_model_config("Labelled", "1") == config

    def test_the_index_tells_every_model(self, client, broken):
        index = client.get_model_repository_index()
        assert [entry["name"] for entry in index] == ["Echo", "Iris", "Labelled", "Slow"]
        assert {entry["state"] for entry in index} == {"READY"}
        (failed,) = [entry for entry in broken.get_model_repository_index() if entry["name"] == "Broken"]
        assert failed["state"] == "UNAVAILABLE"
        assert "cannot initialize" in failed["reason"]


class TestInference:
    @pytest.mark.parametrize("datatype", SAMPLES)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_every_datatype_travels_raw(self, client, datatype, shape):
        data = SAMPLES[datatype].reshape(shape)
        got = echo(client, datatype, data, True, True)
        assert got.dtype == data.dtype
        assert same(got, data)

    @pytest.mark.parametrize("datatype", [name for name in SAMPLES if name not in ("FP16", "BF16", "BYTES")])
    @pytest.mark.parametrize(("binary_in", "binary_out"), [(False, False), (True, False), (False, True)])
    def test_numbers_travel_as_json(self, client, datatype, binary_in, binary_out):
        data = SAMPLES[datatype].reshape(2, 2)
        assert same(echo(client, datatype, data, binary_in, binary_out), data)

    @pytest.mark.parametrize(("binary_in", "binary_out"), [(False, False), (True, False), (False, True)])
    def test_texts_travel_as_json(self, client, binary_in, binary_out):
        got = echo(client, "BYTES", TEXTS, binary_in, binary_out)
        texts = [item if isinstance(item, bytes) else item.encode() for item in got.tolist()]
        assert texts == TEXTS.tolist()

    @pytest.mark.parametrize("datatype", SAMPLES)
    @pytest.mark.parametrize("shape", [(0,), (0, 4), (2, 0, 3)], ids=str)
    def test_empty_tensors_travel_raw(self, client, datatype, shape):
        data = np.empty(shape, SAMPLES[datatype].dtype)
        assert same(echo(client, datatype, data, True, True), data)

    def test_a_tensor_without_dimensions_travels(self, client):
        data = np.array(7.5, np.float32)
        assert same(echo(client, "FP32", data, True, True), data)

    def test_nan_and_infinities_travel_raw(self, client):
        data = np.array([np.nan, np.inf, -np.inf], np.float32)
        assert same(echo(client, "FP32", data, True, True), data)

    @pytest.mark.parametrize("binary", [(True, True), (False, False), (True, False), (False, True)])
    def test_inputs_may_be_raw_or_json(self, client, binary):
        answer = client.infer("Labelled", two_inputs(binary), request_id="seven", model_version="1")
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), A + B)
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), A - B)
        response = answer.get_response()
        assert (response["id"], response["model_name"], response["model_version"]) == (
            "seven",
            "Labelled",
            "1",
        )

    def test_only_wanted_outputs_come_each_in_its_form(self, client):
        outputs = [
            triton.InferRequestedOutput("OUTPUT1", binary_data=False),
            triton.InferRequestedOutput("OUTPUT0", binary_data=True),
        ]
        answer = client.infer("Labelled", two_inputs(), outputs=outputs)
        assert "data" in answer.get_output("OUTPUT1")
        assert answer.get_output("OUTPUT0")["parameters"] == {"binary_data_size": 16}
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), A + B)
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), A - B)
        only = client.infer("Labelled", two_inputs(), outputs=[triton.InferRequestedOutput("OUTPUT1")])
        assert only.as_numpy("OUTPUT0") is None

    @pytest.mark.parametrize("binary", [True, False])
    def test_classes_come_with_their_labels(self, client, binary):
        outputs = [triton.InferRequestedOutput("OUTPUT0", binary_data=binary, class_count=2)]
        classes = client.infer("Labelled", two_inputs(), outputs=outputs).as_numpy("OUTPUT0")
        texts = [item.decode() if isinstance(item, bytes) else item for item in classes.ravel().tolist()]
        assert texts == ["4.500000:3:fish", "3.500000:2:bird"]
        assert classes.shape == (1, 2)

    def test_parameters_priority_and_timeout_are_taken(self, client):
        answer = client.infer(
            "Labelled",
            two_inputs(),
            priority=1,
            timeout=30_000_000,
            parameters={"text": "t", "number": 3, "flag": True, "fraction": 0.5},
            headers={"X-Anything": "goes"},
            query_params={"any": "thing"},
        )
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), A + B)

    @pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("binary", [True, False])
    def test_bodies_may_be_compressed(self, client, request_coding, response_coding, binary):
        data = np.arange(5000, dtype=np.float32)
        answer = client.infer(
            "Echo",
            [an_input("x", "FP32", data, binary)],
            outputs=[triton.InferRequestedOutput("x", binary_data=binary)],
            request_compression_algorithm=request_coding,
            response_compression_algorithm=response_coding,
        )
        assert same(answer.as_numpy("x"), data)

    def test_a_megabyte_travels(self, client):
        data = np.random.default_rng(1).random((512, 1024), np.float32)
        assert same(echo(client, "FP32", data, True, True), data)

    def test_requests_may_be_sent_ahead(self, client):
        inputs = [np.full((1, 4), number, np.float32) for number in range(50)]
        handles = [
            client.async_infer("Labelled", [an_input("INPUT0", "FP32", x), an_input("INPUT1", "FP32", B)])
            for x in inputs
        ]
        for x, handle in zip(inputs, handles, strict=True):
            np.testing.assert_array_equal(handle.get_result().as_numpy("OUTPUT0"), x + B)

    def test_threads_with_clients_of_their_own_get_their_own_answers(self, server):
        def ask(number):
            with triton.InferenceServerClient(f"127.0.0.1:{server.app.port}") as own:
                for round_ in range(20):
                    data = np.full((1, 4), number * 100 + round_, np.float32)
                    inputs = [an_input("INPUT0", "FP32", data), an_input("INPUT1", "FP32", B)]
                    answer = own.infer("Labelled", inputs)
                    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), data + B)
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))


class TestMistakes:
    def test_unknown_models_and_versions_are_404(self, client):
        for ask in (
            lambda: client.get_model_metadata("nope"),
            lambda: client.get_model_config("nope"),
            lambda: client.infer("nope", two_inputs()),
        ):
            error = refused(ask)
            assert error.status() == "404"
            assert error.message() == "Request for unknown model: 'nope' is not found"
        error = refused(lambda: client.infer("Labelled", two_inputs(), model_version="7"))
        assert error.status() == "404"
        assert error.message() == "Request for unknown model: 'Labelled' version 7 is not found"

    def test_a_model_that_failed_to_load_has_no_versions(self, broken):
        error = refused(lambda: broken.infer("Broken", two_inputs()))
        assert error.message() == "Request for unknown model: 'Broken' has no available versions"

    def test_the_request_that_does_not_fit_is_400_in_tritons_words(self, client):
        a, b = two_inputs()
        wide = an_input("INPUT1", "FP32", np.zeros((1, 5), np.float32))
        integers = an_input("INPUT1", "INT32", np.zeros((1, 4), np.int32))
        other = an_input("ZZZ", "FP32", B)
        nine = [an_input(name, "FP32", np.zeros((9, 4), np.float32)) for name in ("INPUT0", "INPUT1")]
        for inputs, words in (
            ([a], "expected 2 inputs but got 1 inputs for model 'Labelled'"),
            ([a, other], "unexpected inference input 'ZZZ' for model 'Labelled'"),
            (
                [a, wide],
                "unexpected shape for input 'INPUT1' for model 'Labelled'. Expected [-1,4], got [1,5].",
            ),
            ([a, integers], "input 'INPUT1' data-type is 'INT32', but model 'Labelled' expects 'FP32'"),
            ([a, b, a], "input 'INPUT0' already exists in request"),
            (nine, "inference request batch-size must be <= 8 for 'Labelled'"),
        ):
            error = refused(lambda inputs=inputs: client.infer("Labelled", inputs, request_id="r"))
            assert error.status() == "400"
            assert words in error.message()

    def test_the_text_names_the_request(self, client):
        error = refused(lambda: client.infer("Labelled", two_inputs()[:1], request_id="r-1"))
        assert error.message().startswith("[request id: r-1] ")

    def test_an_unknown_output_is_named(self, client):
        outputs = [triton.InferRequestedOutput("ZZZ")]
        error = refused(lambda: client.infer("Labelled", two_inputs(), outputs=outputs))
        assert (error.status(), error.message()) == (
            "400",
            "unexpected inference output 'ZZZ' for model 'Labelled'",
        )

    def test_half_floats_have_no_json(self, client):
        half = an_input("x", "FP16", SAMPLES["FP16"], binary=False)
        error = refused(lambda: client.infer("Echo", [half]))
        assert "receiving FP16 data via JSON is not supported" in error.message()
        outputs = [triton.InferRequestedOutput("x", binary_data=False)]
        for datatype in ("FP16", "BF16"):
            raw = an_input("x", datatype, SAMPLES[datatype])
            error = refused(lambda raw=raw: client.infer("Echo", [raw], outputs=outputs))
            assert f"sending {datatype} data via JSON is not supported" in error.message()

    def test_bytes_that_are_no_utf8_have_no_json(self, client):
        error = refused(lambda: echo(client, "BYTES", SAMPLES["BYTES"], True, False))
        assert error.status() == "400"
        assert "binary_data" in error.message()

    def test_strings_have_no_classes(self, client):
        outputs = [triton.InferRequestedOutput("x", class_count=1)]
        error = refused(lambda: client.infer("Echo", [an_input("x", "BYTES", TEXTS)], outputs=outputs))
        assert error.message() == "class result not available for output due to unsupported type 'BYTES'"

    def test_a_timeout_that_passes_is_504(self, client):
        slow = [an_input("x", "FP32", np.ones(1, np.float32))]
        error = refused(lambda: client.infer("Slow", slow, timeout=20_000))
        assert error.status() == "504"

    def test_what_the_server_does_not_offer_is_an_error_of_the_client(self, client):
        assert refused(client.get_trace_settings).status() == "404"

    def test_statistics_grow_with_requests(self, client):
        def count():
            (stats,) = client.get_inference_statistics("Labelled")["model_stats"]
            found = stats["inference_stats"]
            assert found["success"]["ns"] >= found["compute_infer"]["ns"] > 0
            return found["success"]["count"], stats["inference_count"]

        client.infer("Labelled", two_inputs())
        success, rows = count()
        client.infer("Labelled", two_inputs())
        assert count() == (success + 1, rows + 1)
        names = {stats["name"] for stats in client.get_inference_statistics()["model_stats"]}
        assert names >= {"Echo", "Labelled"}

    def test_memory_is_not_shared_unless_the_operator_says_so(self, client):
        for ask in (
            lambda: client.get_system_shared_memory_status(),
            lambda: client.register_system_shared_memory("r", "/k", 64),
            lambda: client.unregister_cuda_shared_memory(),
        ):
            error = refused(ask)
            assert error.status() == "501"
            assert "--allow-client-shm=true" in error.message()

    def test_what_the_operator_does_not_offer_is_one_too(self, client):
        for ask in (lambda: client.load_model("Echo"), lambda: client.unload_model("Echo")):
            assert refused(ask).status() == "403"


def refused(ask) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        ask()
    return caught.value
