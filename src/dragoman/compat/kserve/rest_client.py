"""Asks a server over REST, in v1 or v2. Needs httpx, and is imported when a client is first wanted."""

import asyncio
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from dragoman import errors as kinds
from dragoman.compat.kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
from dragoman.compat.kserve.errors import InvalidInput, UnsupportedProtocol
from dragoman.compat.kserve.logging import trace_logger
from dragoman.compat.kserve.peers import blame, kind_of_status
from dragoman.compat.kserve.protocol.infer_type import InferRequest, InferResponse
from dragoman.compat.kserve.rest_config import RESTConfig, trust

#: Seconds before a connection is tried again; twice as many each time.
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 1.0
Headers = Mapping[str, str] | None


class InferenceRESTClient:
    """``base_url`` is a server's address, ``http://`` or ``https://``; what is behind the host stays in front of every
    path. What a server refuses is raised as ``httpx.HTTPStatusError``, and of a kind that fits its status.
    """

    def __init__(self, config: RESTConfig | None = None) -> None:
        self._config = config or RESTConfig()
        self._client = httpx.AsyncClient(
            transport=self._config.transport,
            http2=self._config.http2,
            timeout=self._config.timeout,
            auth=self._config.auth,
            verify=trust(self._config),
        )

    async def infer(
        self,
        base_url: httpx.URL | str,
        data: InferRequest | dict[str, Any],
        model_name: str | None = None,
        headers: Headers = None,
        response_headers: MutableMapping[str, str] | None = None,
        is_graph_endpoint: bool = False,
        timeout: Any = httpx.USE_CLIENT_DEFAULT,
    ) -> Any:
        """What the model answers: an InferResponse over v2, a document over v1 and from an inference graph, whose
        ``base_url`` is asked as it is. ``response_headers`` gets the answer's headers.
        """
        if is_graph_endpoint:
            url = httpx.URL(base_url)
        elif model_name is None:
            raise ValueError("model_name should not be 'None'")
        else:
            path = self._path("v1/models/{}:predict", "v2/models/{}/infer", model_name)
            url = _join(base_url, path)
        response = await self._post(url, data, headers, timeout)
        if response_headers is not None:
            response_headers.update(response.headers)
        return _read(response, is_v2=self._config.protocol.lower() == "v2" and not is_graph_endpoint)

    async def explain(
        self,
        base_url: httpx.URL | str,
        model_name: str,
        data: dict[str, Any],
        headers: Headers = None,
        timeout: Any = httpx.USE_CLIENT_DEFAULT,
    ) -> Any:
        """What the explainer answers, over v1: v2 has no explanations."""
        url = _join(base_url, self._path("v1/models/{}:explain", None, model_name))
        return _read(await self._post(url, data, headers, timeout), is_v2=False)

    async def is_server_ready(
        self, base_url: httpx.URL | str, headers: Headers = None, timeout: Any = httpx.USE_CLIENT_DEFAULT
    ) -> bool:
        """Over v2 only."""
        url = _join(base_url, self._path(None, "v2/health/ready"))
        return bool(_accept(await self._get(url, headers, timeout)).json().get("ready"))

    async def is_server_live(
        self, base_url: httpx.URL | str, headers: Headers = None, timeout: Any = httpx.USE_CLIENT_DEFAULT
    ) -> bool:
        url = _join(base_url, self._path("", "v2/health/live"))
        document = _accept(await self._get(url, headers, timeout)).json()
        return bool(document.get("live") or str(document.get("status")).lower() == "alive")

    async def is_model_ready(
        self,
        base_url: httpx.URL | str,
        model_name: str,
        headers: Headers = None,
        timeout: Any = httpx.USE_CLIENT_DEFAULT,
    ) -> bool:
        """Whether the model is ready. A model that is not there is an error over v1, and not ready over v2."""
        url = _join(base_url, self._path("v1/models/{}", "v2/models/{}/ready", model_name))
        response = await self._get(url, headers, timeout)
        if self._config.protocol.lower() == "v2":
            return response.is_success
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return False
        return bool(_accept(response).json().get("ready"))

    async def close(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> "InferenceRESTClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _path(self, v1: str | None, v2: str | None, model: str = "") -> str:
        protocol = self._config.protocol
        path = {"v1": v1, "v2": v2}.get(protocol.lower())
        if path is None:
            raise UnsupportedProtocol(protocol)
        return path.format(quote(model, safe=""))

    async def _post(self, url: httpx.URL, data: Any, headers: Headers, timeout: Any) -> httpx.Response:
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if isinstance(data, InferRequest):
            data, json_length = data.encode_rest()
            if json_length:
                sent[INFERENCE_CONTENT_LENGTH_HEADER] = str(json_length)
                sent["content-type"] = "application/octet-stream"
        if not isinstance(data, (bytes, str)):
            data = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
            sent.setdefault("content-type", "application/json")
        request = self._client.build_request("POST", url, content=data, headers=sent, timeout=timeout)
        return _accept(await self._send(request))

    async def _get(self, url: httpx.URL, headers: Headers, timeout: Any) -> httpx.Response:
        return await self._send(self._client.build_request("GET", url, headers=headers, timeout=timeout))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer, whatever its status; connecting is tried again. Errors of the way are kinds of ours."""
        self._tell("url: %s, request: %s", request.url, request.content)
        try:
            async with asyncio.timeout(_seconds(request)):
                response = await self._try(request)
        except TimeoutError:
            late = httpx.ReadTimeout("the call took longer than it may", request=request)
            raise _late(late) from None
        except httpx.TimeoutException as error:
            raise _late(error) from error
        except httpx.TransportError as error:
            raise blame(error, kinds.NotReady, "the predictor can't be reached") from error
        self._tell("response code: %s, content: %s", response.status_code, response.content)
        return response

    async def _try(self, request: httpx.Request) -> httpx.Response:
        wait = _FIRST_WAIT
        for _ in range(self._config.retries):
            try:
                return await self._client.send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
        return await self._client.send(request)

    def _tell(self, text: str, *values: Any) -> None:
        if self._config.verbose:
            trace_logger.info(text, *values)


def _join(base_url: httpx.URL | str, path: str) -> httpx.URL:
    base = httpx.URL(base_url)
    if base.scheme not in {"http", "https"}:
        raise httpx.InvalidURL("Base url should have 'http://' or 'https://' protocol")
    if not base.host:
        raise httpx.InvalidURL("Base url should not be a relative url")
    return base.copy_with(raw_path=base.raw_path.rstrip(b"/") + b"/" + path.encode())


def _seconds(request: httpx.Request) -> float | None:
    """How long the call may take in full: of several limits the longest."""
    limits = [limit for limit in request.extensions["timeout"].values() if limit is not None]
    return max(limits) if len(limits) == len(request.extensions["timeout"]) else None


def _late(error: Exception) -> kinds.DragomanError:
    return blame(error, kinds.DeadlineExceeded, "the predictor has not answered in time")


def _accept(response: httpx.Response) -> httpx.Response:
    """The response, if its status is one of success. Raises HTTPStatusError."""
    if response.is_success:
        return response
    words = _words(response)
    status = f"'{response.status_code} {response.reason_phrase}' for url '{response.url}'"
    error = httpx.HTTPStatusError(f"{words}, {status}", request=response.request, response=response)
    told = words or f"the predictor answered {response.status_code} {response.reason_phrase}"
    raise blame(error, kind_of_status(response.status_code), told)


def _words(response: httpx.Response) -> str:
    """What a server says of its failure: ``error``, or what frameworks have for it."""
    try:
        document = response.json()
    except ValueError:
        return ""
    if isinstance(document, dict):
        document = document.get("error") or document.get("detail") or document.get("message") or document
    return document if isinstance(document, str) else orjson.dumps(document).decode()


def _read(response: httpx.Response, is_v2: bool) -> Any:
    """The document, or the InferResponse. What makes no sense is the fault of who answered."""
    try:
        if not is_v2:
            return orjson.loads(response.content)
        length = int(response.headers.get(INFERENCE_CONTENT_LENGTH_HEADER, len(response.content)))
        return InferResponse.from_bytes(response.content, length)
    except (InvalidInput, ValueError) as error:
        raise kinds.ModelFailed(f"the predictor's answer can't be read: {error}") from error
