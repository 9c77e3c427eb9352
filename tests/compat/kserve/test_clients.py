"""The clients that model files use by hand: what they ask, how often, whom they trust, and what they are told."""

import asyncio
import json
import logging
import ssl
from dataclasses import replace

import grpc
import httpx
import numpy as np
import pytest

from dragoman import errors as kinds
from dragoman.compat import kserve
from dragoman.compat.kserve import InferenceGRPCClient, InferenceRESTClient, RESTConfig
from dragoman.compat.kserve.constants.constants import PredictorProtocol
from dragoman.compat.kserve.errors import InvalidInput, UnsupportedProtocol
from dragoman.compat.kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceServicer,
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)
from dragoman.compat.kserve.protocol.infer_type import (
    InferInput,
    InferRequest,
    InferResponse,
    RequestedOutput,
)
from dragoman.compat.kserve.utils.inference_client_factory import InferenceClientFactory
from dragoman.config import Settings
from dragoman.testing import TestClient
from tests.compat.kserve.peers import Adder, nobody, recording, silence
from tests.transport.authority import Authority


@pytest.fixture(scope="module")
def server():
    with TestClient(Adder) as client:
        yield client


def rest(ask, **settings):
    """What ``ask`` gives of a REST client, which is closed behind it."""

    async def go():
        async with InferenceRESTClient(RESTConfig(**settings)) as client:
            return await ask(client)

    return asyncio.run(go())


def over_grpc(ask, address, **settings):
    async def go():
        async with InferenceGRPCClient(address, **settings) as client:
            return await ask(client)

    return asyncio.run(go())


def request(*numbers, binary=True, **more):
    tensor = InferInput("x", [len(numbers)], "FP32")
    tensor.set_data_from_numpy(np.array(numbers, np.float32), binary_data=binary)
    return InferRequest("Adder", [tensor], "r-1", **more)


class TestRest:
    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize("answered", [True, False])
    def test_asks_over_v2_in_json_and_in_bytes(self, server, binary, answered):
        wanted = [RequestedOutput("y", {"binary_data": answered})]
        asked = request(1.0, 2.0, binary=binary, request_outputs=wanted)
        headers = {}
        answer = rest(
            lambda client: client.infer(server.url, asked, "Adder", response_headers=headers), protocol="v2"
        )
        assert isinstance(answer, InferResponse)
        assert answer.outputs[0].as_numpy().tolist() == [2.0, 3.0]
        assert answer.outputs[0].data == [2.0, 3.0]
        assert ("inference-header-content-length" in headers) is answered

    def test_asks_over_v1_with_a_document(self, server):
        answer = rest(lambda client: client.infer(server.url, {"instances": [1.0]}, model_name="Adder"))
        assert answer == {"predictions": [2.0]}

    def test_takes_a_protocol_s_enum(self, server):
        config = RESTConfig(protocol=PredictorProtocol.REST_V2)
        assert config.protocol == "v2"
        assert rest(lambda client: client.is_server_ready(server.url), protocol=PredictorProtocol.REST_V2)

    def test_asks_a_graph_as_it_is(self):
        with recording(answer={"any": "thing"}) as graph:
            url = f"http://{graph.host}/graph"
            answer = rest(
                lambda client: client.infer(url, {"instances": []}, is_graph_endpoint=True), protocol="v2"
            )
        assert answer == {"any": "thing"}
        assert graph.asked[0][0] == "/graph"

    def test_keeps_what_stands_behind_the_host(self):
        with recording(answer={"predictions": []}) as server:
            for base in ("/serving", "/serving/"):
                url = httpx.URL(f"http://{server.host}{base}")
                rest(lambda client, url=url: client.infer(url, {"instances": []}, "m"))
        assert [path for path, *_ in server.asked] == ["/serving/v1/models/m:predict"] * 2

    def test_sends_headers_of_ones_own_and_numpy_in_documents(self):
        with recording(answer={"predictions": []}) as server:
            url = f"http://{server.host}"
            body = {"instances": np.eye(2)}
            rest(lambda client: client.infer(url, body, "m", headers={"Content-Type": "application/ld+json"}))
        ((_, headers, sent),) = server.asked
        assert headers["content-type"] == "application/ld+json"
        assert json.loads(sent) == {"instances": [[1, 0], [0, 1]]}

    def test_knows_who_lives_and_who_is_ready(self, server):
        for protocol in ("v1", "v2"):
            assert rest(lambda client: client.is_server_live(server.url), protocol=protocol) is True
            assert rest(lambda client: client.is_model_ready(server.url, "Adder"), protocol=protocol) is True
        assert rest(lambda client: client.is_server_ready(server.url), protocol="v2") is True
        assert rest(lambda client: client.is_model_ready(server.url, "none"), protocol="v2") is False
        with pytest.raises(httpx.HTTPStatusError):
            rest(lambda client: client.is_model_ready(server.url, "none"))
        with recording(status=503) as unready:
            url = f"http://{unready.host}"
            assert rest(lambda client: client.is_model_ready(url, "m")) is False

    def test_refuses_what_a_protocol_has_not(self, server):
        for ask in (
            lambda client: client.explain(server.url, "Adder", {}),
            lambda client: client.infer(server.url, {}, "Adder"),
        ):
            with pytest.raises(UnsupportedProtocol, match=r"^Unsupported protocol v3\.$"):
                rest(ask, protocol="v3")
        with pytest.raises(UnsupportedProtocol):
            rest(lambda client: client.explain(server.url, "Adder", {}), protocol="v2")
        with pytest.raises(UnsupportedProtocol):
            rest(lambda client: client.is_server_ready(server.url), protocol="v1")

    @pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "/path", "http:///path"])
    def test_refuses_what_is_no_address(self, url):
        with pytest.raises(httpx.InvalidURL):
            rest(lambda client: client.infer(url, {}, "m"))

    def test_needs_a_model_s_name(self, server):
        with pytest.raises(ValueError, match="model_name should not be 'None'"):
            rest(lambda client: client.infer(server.url, {}))

    def test_tries_again_until_somebody_listens(self):
        # row: rest-retries
        class Later(httpx.AsyncHTTPTransport):
            """Refused twice; then a server is there."""

            tries = 0

            async def handle_async_request(self, request):
                self.tries += 1
                url = request.url.copy_with(
                    port=int((dead if self.tries < 3 else live.host).rpartition(":")[2])
                )
                return await super().handle_async_request(
                    httpx.Request(request.method, url, content=request.content, headers=request.headers)
                )

        dead = nobody()
        with recording(answer={"predictions": [1]}) as live:
            ask = lambda client: client.infer(f"http://{dead}", {"instances": []}, "m")  # noqa: E731
            transport = Later()
            assert rest(ask, transport=transport, retries=2) == {"predictions": [1]}
            assert transport.tries == 3
            with pytest.raises(kinds.NotReady) as failure:
                rest(ask, transport=Later(), retries=1)
            assert isinstance(failure.value, httpx.ConnectError)
        assert len(live.asked) == 1

    def test_does_not_ask_twice_what_has_been_answered(self):
        with recording(status=503) as server, pytest.raises(kinds.NotReady):
            rest(lambda client: client.infer(f"http://{server.host}", {"instances": []}, "m"), retries=3)
        assert len(server.asked) == 1

    def test_a_call_s_time_out_is_for_the_whole_of_it(self):
        with silence() as where:
            for timeout in (0.2, httpx.Timeout(0.2)):
                with pytest.raises(kinds.DeadlineExceeded) as failure:
                    rest(
                        lambda client, timeout=timeout: client.infer(
                            f"http://{where}", {}, "m", timeout=timeout
                        )
                    )
                assert isinstance(failure.value, httpx.TimeoutException)

    def test_shows_a_certificate_and_asks_for_one(self, tmp_path):
        # row: client-certificates
        authority = Authority(tmp_path, "authority")
        pair, mine = authority.sign("server"), authority.sign("me")
        settings = Settings()
        more = {"tls_cert": str(pair.cert), "tls_key": str(pair.key), "tls_client_ca": str(authority.cert)}
        trusting = ssl.create_default_context(cafile=authority.cert)
        with TestClient(Adder, settings=replace(settings, server=replace(settings.server, **more))) as client:
            url = client.url.replace("127.0.0.1", "localhost")
            ready = lambda client: client.is_server_ready(url)  # noqa: E731
            mine = (str(mine.cert), str(mine.key))
            for trust in (str(authority.cert), trusting, False):
                assert rest(ready, protocol="v2", verify=trust, cert=mine)
            for distrust in ({"cert": mine}, {"verify": str(authority.cert)}):
                with pytest.raises(kinds.NotReady):
                    rest(ready, protocol="v2", retries=0, **distrust)

    def test_says_what_it_does_when_it_is_told_to(self, server, caplog):
        trace = logging.getLogger("kserve.trace")
        trace.addHandler(caplog.handler)
        try:
            with caplog.at_level(logging.INFO, logger="kserve.trace"):
                rest(lambda client: client.infer(server.url, {"instances": [1.0]}, "Adder"), verbose=True)
        finally:
            trace.removeHandler(caplog.handler)
        assert "models/Adder:predict" in caplog.text
        assert "predictions" in caplog.text


class TestGrpc:
    def test_asks_and_is_answered(self, server):
        answer = over_grpc(lambda client: client.infer(request(1.0)), server.grpc)
        assert answer.outputs[0].as_numpy().tolist() == [2.0]
        assert answer.from_grpc is True

    def test_knows_who_lives_and_who_is_ready(self, server):
        assert over_grpc(lambda client: client.is_server_live(), server.grpc) is True
        assert over_grpc(lambda client: client.is_server_ready(timeout=5), server.grpc) is True
        assert (
            over_grpc(lambda client: client.is_model_ready("Adder", headers=(("a", "b"),)), server.grpc)
            is True
        )

    def test_takes_requests_only(self, server):
        with pytest.raises(InvalidInput, match="Invalid input format"):
            over_grpc(lambda client: client.infer({"instances": []}), server.grpc)

    def test_takes_options_of_a_channel(self, server):
        for options in ([], [("grpc.enable_retries", 0)], [("grpc.service_config", "{}")]):
            answer = over_grpc(
                lambda client: client.infer(request(1.0)), server.grpc, channel_args=options, verbose=True
            )
            assert answer.id == "r-1"

    def test_tries_again_while_the_server_is_not_available(self):
        # row: grpc-retries
        class Busy(GRPCInferenceServiceServicer):
            tries = 0

            async def ServerLive(self, request, context):  # noqa: N802
                self.tries += 1
                if self.tries < 3:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
                return messages.ServerLiveResponse(live=True)

        async def go(retries):
            busy, server = Busy(), grpc.aio.server()
            add_GRPCInferenceServiceServicer_to_server(busy, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                async with InferenceGRPCClient(f"127.0.0.1:{port}", retries=retries) as client:
                    return await client.is_server_live(), busy.tries
            finally:
                await server.stop(None)

        assert asyncio.run(go(2)) == (True, 3)
        for retries in (0, 1):
            with pytest.raises(kinds.NotReady, match="busy"):
                asyncio.run(go(retries))

    def test_a_service_answers_only_what_is_overridden(self):
        async def go():
            server = grpc.aio.server()
            add_GRPCInferenceServiceServicer_to_server(GRPCInferenceServiceServicer(), server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    stub = GRPCInferenceServiceStub(channel)
                    with pytest.raises(AttributeError, match="has no method ModelStreamInfer"):
                        _ = stub.ModelStreamInfer
                    await stub.ModelInfer(messages.ModelInferRequest())
            finally:
                await server.stop(None)

        with pytest.raises(grpc.aio.AioRpcError) as failure:
            asyncio.run(go())
        assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


class TestFactory:
    def test_there_is_one_with_one_client_for_each_server_and_setting(self):
        # row: client-factory
        async def go():
            factory = InferenceClientFactory()
            assert factory is InferenceClientFactory()
            try:
                assert factory.get_grpc_client("a:1") is factory.get_grpc_client("a:1")
                assert factory.get_grpc_client("a:1") is not factory.get_grpc_client("b:1")
                assert factory.get_grpc_client("a:1", timeout=3) is not factory.get_grpc_client("a:1")
                first = factory.get_rest_client(RESTConfig(protocol="v2"))
                assert first is factory.get_rest_client(RESTConfig(protocol="v2"))
                assert first is not factory.get_rest_client(RESTConfig(protocol="v2", timeout=1))
                assert factory.get_rest_client() is factory.get_rest_client(RESTConfig())
            finally:
                await factory.close()
            return first

        assert asyncio.run(go()) is not asyncio.run(go())

    def test_one_can_be_had_before_there_is_an_event_loop(self):
        factory = InferenceClientFactory()
        config = RESTConfig(protocol="v2", timeout=7)
        assert factory.get_rest_client(config) is factory.get_rest_client(config)


def test_the_clients_are_there_when_they_are_asked_for():
    assert {"InferenceRESTClient", "InferenceGRPCClient", "RESTConfig"} <= set(dir(kserve))
    assert set(kserve.__all__) <= set(dir(kserve))
    with pytest.raises(AttributeError, match="has no attribute 'InferenceFTPClient'"):
        _ = kserve.inference_client.InferenceFTPClient
