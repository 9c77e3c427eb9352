"""How a model's hooks are called: in which order, with what, on which thread, and what is told of it."""

import asyncio
import copy
import logging
import pickle
import re
import threading

import numpy as np
import pytest

from dragoman.compat.kserve import context, metrics
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.model import (
    BaseKServeModel,
    InferenceModel,
    InferenceVerb,
    Model,
    PredictorConfig,
    PredictorProtocol,
    get_latency_ms,
    is_healthy,
    is_v2,
)
from dragoman.compat.kserve.protocol.infer_type import InferInput, InferRequest


def ask(model, *arguments, **named):
    return asyncio.run(model(*arguments, **named))


class Plain(Model):
    """Functions only; each tells where it ran."""

    def __init__(self, name="plain", *arguments, **named):
        super().__init__(name, *arguments, **named)
        self.threads = []

    def preprocess(self, payload, headers=None):
        self.threads.append(threading.get_ident())
        return payload

    def predict(self, payload, headers=None):
        self.threads.append(threading.get_ident())
        return {"predictions": payload["instances"]}

    def explain(self, payload, headers=None):
        return {"explanations": payload["instances"]}

    def postprocess(self, result, headers=None):
        self.threads.append(threading.get_ident())
        return result


class WithHeaders(Model):
    async def predict(self, payload, headers=None, response_headers=None):
        response_headers["x-predicted"] = "1"
        return {"predictions": []}

    def postprocess(self, result, headers=None, response_headers=None):
        response_headers["x-done"] = "1"
        return result


BODY = {"instances": [1, 2]}
ORDERS = [
    ((InferenceVerb.EXPLAIN, {"h": "1"}), {}),
    (({"h": "1"}, InferenceVerb.EXPLAIN), {}),
    ((InferenceVerb.EXPLAIN,), {"headers": {"h": "1"}}),
    (({"h": "1"},), {"verb": InferenceVerb.EXPLAIN}),
    ((), {"verb": InferenceVerb.EXPLAIN, "headers": {"h": "1"}}),
]


@pytest.mark.parametrize(("arguments", "named"), ORDERS)
@pytest.mark.usefixtures("old")
def test_verb_and_headers_may_be_in_either_order(arguments, named):
    class Telling(Plain):
        def explain(self, payload, headers=None):
            return headers

    if arguments and isinstance(arguments[0], dict) and "verb" in named:
        arguments, named = (), {"headers": arguments[0], **named}
    assert ask(Telling(), BODY, *arguments, **named) == {"h": "1"}


@pytest.mark.usefixtures("old")
def test_headers_alone_may_be_in_the_second_place():
    class Telling(Plain):
        async def predict(self, payload, headers=None):
            return headers

    assert ask(Telling(), BODY, {"h": "1"}) == {"h": "1"}
    assert ask(Telling(), BODY, None) is None


def test_the_response_comes_alone_in_the_old_dialect(old):
    assert ask(Plain(), BODY) == {"predictions": [1, 2]}


def test_the_response_comes_with_headers_in_the_new_dialect(new):
    assert ask(Plain(), BODY) == ({"predictions": [1, 2]}, {})
    headers = {"x-predicted": "1", "x-done": "1"}
    assert ask(WithHeaders("m", True), BODY) == ({"predictions": []}, headers)
    assert ask(WithHeaders("m", return_response_headers=True), BODY)[1] == headers


def test_functions_run_one_at_a_time_on_the_model_s_own_thread(old):
    # row: own-thread
    model = Plain()
    first, second = threading.Event(), threading.Event()

    class Slow(Plain):
        def predict(self, payload, headers=None):
            first.set()
            assert second.wait(30), "the event loop was blocked"
            return super().predict(payload, headers)

    async def go():
        slow = Slow()
        running = asyncio.ensure_future(slow(BODY))
        while not first.is_set():
            await asyncio.sleep(0)
        second.set()  # which nobody could if the loop waited for the hook
        await running
        await model(BODY)
        await asyncio.gather(*(slow(BODY) for _ in range(5)))
        return slow.threads

    threads = asyncio.run(go())
    assert len(set(threads)) == 1
    assert len(set(model.threads)) == 1
    assert threading.get_ident() not in {*threads, *model.threads}


def test_without_a_thread_of_its_own_functions_run_where_the_call_is(old):
    model = Plain()
    model._thread = None
    ask(model, BODY)
    assert set(model.threads) == {threading.get_ident()}


def test_a_function_that_gives_a_coroutine_is_waited_for(old):
    class Wrapped(Plain):
        def predict(self, payload, headers=None):
            return self.really(payload)

        async def really(self, payload):
            return {"predictions": "real"}

    assert ask(Wrapped(), BODY) == {"predictions": "real"}


def test_a_hook_of_the_object_counts_too(old):
    model = Plain()

    async def other(payload, headers=None):
        return "other"

    model.predict = other
    assert ask(model, BODY) == "other"


def test_a_stream_is_handed_on(old):
    class Stream(Model):
        async def predict(self, payload, headers=None):
            async def pieces():
                for number in range(3):
                    yield number

            return pieces()

    async def read():
        return [piece async for piece in await Stream("stream")(BODY)]

    assert asyncio.run(read()) == [0, 1, 2]


def test_what_a_hook_raises_is_raised(old):
    class Failing(Plain):
        def predict(self, payload, headers=None):
            raise InvalidInput("no")

    with pytest.raises(InvalidInput, match=r"^no$"):
        ask(Failing(), BODY)


def test_nobody_can_generate(old):
    with pytest.raises(NotImplementedError, match="generate"):
        ask(Plain(), BODY, InferenceVerb.GENERATE)


def test_servers_ask_a_call_that_is_overridden(new):
    class Counting(Plain):
        async def __call__(self, body, headers=None, verb=InferenceVerb.PREDICT):
            response, response_headers = await super().__call__(body, headers, verb)
            return {"counted": response}, response_headers

    class Alone(Plain):
        def __call__(self, body, headers=None, verb=InferenceVerb.PREDICT):
            return "alone"

    predict = InferenceVerb.PREDICT
    assert asyncio.run(Plain().answer(BODY, {}, predict)) == ({"predictions": [1, 2]}, {})
    assert asyncio.run(Counting().answer(BODY, {}, predict))[0] == {"counted": {"predictions": [1, 2]}}
    assert asyncio.run(Alone().answer(BODY, {}, predict)) == ("alone", {})


class TestValidation:
    def test_rows_must_be_a_list(self, old):
        with pytest.raises(InvalidInput, match='Expected "instances" to be a list'):
            ask(Plain(), {"instances": {"a": 1}})
        model = Plain()
        model.protocol = "v2"
        with pytest.raises(InvalidInput, match='Expected "inputs" to be a list'):
            ask(model, {"inputs": 3})
        model.protocol = PredictorProtocol.REST_V2
        with pytest.raises(InvalidInput, match='Expected "inputs" to be a list'):
            ask(model, {"inputs": 3})

    @pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
    def test_anything_that_is_no_document_passes(self, protocol):
        model = Plain()
        model.protocol = protocol
        request = InferRequest("m", [InferInput("x", [1], "INT8", [1])])
        for payload in (request, request.to_grpc(), b"bytes", "text", np.zeros(1), None, {"inputs": []}):
            assert model.validate(payload) is payload


class TestTellingAboutIt:
    def test_every_hook_is_timed(self, old):
        model = Plain("timed-model")
        ask(model, BODY)
        ask(model, BODY, InferenceVerb.EXPLAIN)
        counts = {
            sample.name: sample.value
            for family in metrics.REGISTRY.collect()
            for sample in family.samples
            if sample.labels.get("model_name") == "timed-model" and sample.name.endswith("_count")
        }
        assert counts == {
            "request_preprocess_seconds_count": 2,
            "request_predict_seconds_count": 1,
            "request_explain_seconds_count": 1,
            "request_postprocess_seconds_count": 2,
        }
        assert metrics.get_labels("m") == {"model_name": "m"}

    def test_a_line_has_the_milliseconds_of_each(self, old, caplog):
        model = Plain()
        model.enable_latency_logging = True
        with caplog.at_level(logging.INFO, logger="kserve.trace"):
            logging.getLogger("kserve.trace").addHandler(caplog.handler)
            try:
                ask(model, BODY, headers={"x-request-id": "r-7"})
                ask(model, BODY, InferenceVerb.EXPLAIN)
            finally:
                logging.getLogger("kserve.trace").removeHandler(caplog.handler)
        lines = {record.getMessage().partition(",")[0]: record.getMessage() for record in caplog.records}
        ms = r"\d+(\.\d+)?(e-\d+)?"
        wanted = f"requestId: r-7, preprocess_ms: {ms}, explain_ms: 0, predict_ms: {ms}, postprocess_ms: {ms}"
        assert re.fullmatch(wanted, lines["requestId: r-7"])
        assert "predict_ms: 0," in lines["requestId: N.A."]

    def test_milliseconds_are_of_two_moments_in_seconds(self):
        assert get_latency_ms(1.0, 1.25) == 250.0


class TestHealth:
    def test_is_the_model_s_readiness_in_both_dialects(self, new):
        model = Plain()
        assert not model.healthy()
        model.ready = True
        assert model.healthy()
        assert repr(model.healthy()) == "True"

        async def wait():
            return await model.healthy()

        assert asyncio.run(wait()) is True

    def test_may_be_overridden_in_either_way(self, old):
        class Old(Plain):
            def healthy(self):
                return True

        class New(Plain):
            async def healthy(self):
                return True

        for kind in (Old, New):
            assert asyncio.run(is_healthy(kind())) is True
        assert asyncio.run(is_healthy(Plain())) is False

    def test_the_new_dialect_s_super_can_be_awaited(self, new):
        class Super(Plain):
            async def healthy(self):
                return await super().healthy()

        assert asyncio.run(is_healthy(Super())) is False


class TestLife:
    def test_begins_and_ends(self):
        model = Plain()
        for method, ready in (
            (model.load, True),
            (model.stop, False),
            (model.start, True),
            (model.stop_engine, False),
        ):
            method()
            assert model.ready is ready
        asyncio.run(model.start_engine())
        assert model.ready is True
        assert model.engine is False

    def test_the_classes_are_each_other_s(self):
        assert issubclass(Model, InferenceModel)
        assert issubclass(InferenceModel, BaseKServeModel)
        assert Plain().get_input_types() == Plain().get_output_types() == []

    def test_a_model_can_be_copied_into_another_process(self, old):
        model = Plain()
        ask(model, BODY)
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert again._thread is not model._thread
            assert ask(again, BODY) == {"predictions": [1, 2]}


class TestPredictorSettings:
    def test_what_is_assigned_comes_first(self):
        context.set_predictor_config(PredictorConfig("server", "v2", True, 9, 2, True))
        model = Plain("m", PredictorConfig("given", "grpc-v2"))
        assert model.predictor_host == "given"
        model.predictor_host, model.protocol, model.timeout, model.use_ssl = "mine", "v1", 3, False
        config = model.predictor_config
        assert (config.predictor_host, config.protocol, config.timeout, config.use_ssl) == (
            "mine",
            "v1",
            3,
            False,
        )
        assert config.predictor_base_url == "http://mine"

    def test_the_server_s_is_for_who_was_told_nothing(self):
        assert Plain().predictor_config is None
        context.set_predictor_config(PredictorConfig("server", "v2", True, 9, 2, True))
        config = Plain().predictor_config
        assert (config.predictor_host, config.protocol, config.timeout) == ("server", "v2", 9)
        assert (config.retries, config.predictor_health_check) == (2, True)
        assert config.predictor_base_url == "https://server"
        assert Plain().predictor_host == "server"

    def test_threads_see_the_server_s_too(self):
        context.set_predictor_config(PredictorConfig("server"))
        seen = []
        thread = threading.Thread(target=lambda: seen.append(Plain().predictor_host))
        thread.start()
        thread.join()
        assert seen == ["server"]

    def test_one_assignment_keeps_the_rest(self):
        context.set_predictor_config(PredictorConfig("server", "v2", False, 9, 2))
        model = Plain()
        model.protocol = PredictorProtocol.GRPC_V2
        config = model.predictor_config
        assert (config.predictor_host, config.protocol, config.timeout, config.retries) == (
            "server",
            "grpc-v2",
            9,
            2,
        )

    def test_the_new_dialect_names_what_is_missing_its_way(self, new):
        with pytest.raises(NotImplementedError, match=r"^Could not find PredictorConfig\.$"):
            ask(Model("m"), BODY)
        context.set_predictor_config(PredictorConfig(None))
        with pytest.raises(NotImplementedError, match=r"^Could not find predictor_host\.$"):
            ask(Model("m"), BODY)


def test_protocols_have_versions():
    assert is_v2(PredictorProtocol.GRPC_V2)
    assert not is_v2(PredictorProtocol.REST_V1)
