"""Asks a server over gRPC. Needs grpcio, and is imported when a client is first wanted."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import grpc

from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.logging import trace_logger
from dragoman.compat.kserve.peers import blame, kind_of_code
from dragoman.compat.kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from dragoman.compat.kserve.protocol.infer_type import InferRequest, InferResponse

Options = list[tuple[str, Any]]
Metadata = Sequence[tuple[str, str]] | None


class _ClientDefault:
    """For a call's time-out: that of the client."""


USE_CLIENT_DEFAULT: Final = _ClientDefault()
#: The most attempts that grpc takes.
_MOST_ATTEMPTS: Final = 5


class InferenceGRPCClient:
    """``url`` is ``host`` or ``host:port``; certificates and keys are paths to PEM files. ``timeout`` is in seconds.

    A call is tried again, ``retries`` times, where the server is not available; options of one's own in
    ``channel_args`` decide for themselves. What a server refuses is raised as ``grpc.RpcError``, and of a kind that
    fits its status.
    """

    def __init__(
        self,
        url: str,
        verbose: bool = False,
        use_ssl: bool = False,
        root_certificates: str | None = None,
        private_key: str | None = None,
        certificate_chain: str | None = None,
        creds: Any = None,
        channel_args: Options | None = None,
        timeout: float | None = 60,
        retries: int = 3,
    ) -> None:
        if ":" not in url:
            url = f"{url}:{443 if use_ssl or creds else 80}"
        options = _options(channel_args, retries)
        if creds is None and use_ssl:
            creds = grpc.ssl_channel_credentials(
                _read(root_certificates), _read(private_key), _read(certificate_chain)
            )
        self._channel = (
            grpc.aio.secure_channel(url, creds, options=options)
            if creds
            else grpc.aio.insecure_channel(url, options=options)
        )
        self._client_stub = GRPCInferenceServiceStub(self._channel)
        self._verbose = verbose
        self._timeout = timeout

    async def infer(
        self, infer_request: InferRequest, timeout: Any = USE_CLIENT_DEFAULT, headers: Metadata = None
    ) -> InferResponse:
        """What the model answers. Raises InvalidInput for what is no InferRequest."""
        if not isinstance(infer_request, InferRequest):
            raise InvalidInput("Invalid input format")
        answer = await self._call("ModelInfer", infer_request.to_grpc(), timeout, headers)
        response: InferResponse = InferResponse.from_grpc(answer)
        return response

    async def is_server_ready(self, timeout: Any = USE_CLIENT_DEFAULT, headers: Metadata = None) -> bool:
        answer = await self._call("ServerReady", messages.ServerReadyRequest(), timeout, headers)
        return bool(answer.ready)

    async def is_server_live(self, timeout: Any = USE_CLIENT_DEFAULT, headers: Metadata = None) -> bool:
        answer = await self._call("ServerLive", messages.ServerLiveRequest(), timeout, headers)
        return bool(answer.live)

    async def is_model_ready(
        self, model_name: str, timeout: Any = USE_CLIENT_DEFAULT, headers: Metadata = None
    ) -> bool:
        request = messages.ModelReadyRequest(name=model_name)
        return bool((await self._call("ModelReady", request, timeout, headers)).ready)

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> "InferenceGRPCClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, request: Any, timeout: Any, headers: Metadata) -> Any:
        if self._verbose:
            trace_logger.info("%s: %s, metadata: %s", method, request, headers)
        seconds = self._timeout if isinstance(timeout, _ClientDefault) else timeout
        metadata = None if headers is None else tuple(headers)
        try:
            call = getattr(self._client_stub, method)
            answer = await call(request, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            told = error.details() or f"the predictor answered {code}"
            raise blame(error, kind_of_code(code), told) from None
        if self._verbose:
            trace_logger.info("%s: %s", method, answer)
        return answer


def _options(given: Options | None, retries: int) -> Options:
    """A channel's options: those given, or messages of any size; and retries unless somebody has decided."""
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    options = list(unlimited if given is None else given)
    names = {name for name, _ in options}
    if retries > 0 and not names & {"grpc.enable_retries", "grpc.service_config"}:
        options += [("grpc.enable_retries", 1), ("grpc.service_config", _retry(retries))]
    return options


def _retry(retries: int) -> str:
    policy = {
        "maxAttempts": min(retries + 1, _MOST_ATTEMPTS),
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
