"""What a model is in KServe's API: a class with hooks that a server calls one after the other.

::

    body ──► preprocess ──► validate ──► predict | explain ──► postprocess ──► response

Both of KServe's dialects are here; ``dialect`` says where one class can't be both.
"""

import inspect
from collections.abc import Awaitable, Mapping
from time import perf_counter
from typing import Any, Final

from dragoman.compat.kserve import context, dialect, forwarding
from dragoman.compat.kserve.base_model import BaseKServeModel, InferenceModel, InferenceVerb, is_healthy
from dragoman.compat.kserve.calling import OwnThread, call_hook
from dragoman.compat.kserve.constants.constants import PredictorProtocol
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.forwarding import append_forwardable_headers
from dragoman.compat.kserve.logging import log_time
from dragoman.compat.kserve.metrics import times_of
from dragoman.compat.kserve.predictor_config import PredictorConfig
from dragoman.compat.kserve.protocol.infer_type import InferRequest, InferResponse

Headers = Mapping[str, str] | None
InferReturnValueTypes = dict[str, Any] | InferResponse | list[str]
InferReturnType = InferReturnValueTypes | Awaitable[InferReturnValueTypes]

__all__ = [
    "BaseKServeModel",
    "InferReturnType",
    "InferenceModel",
    "InferenceVerb",
    "Model",
    "PredictorConfig",
    "PredictorProtocol",
    "append_forwardable_headers",
    "get_latency_ms",
    "is_healthy",
    "is_v2",
]


class _PredictorSetting:
    """An attribute that KServe 0.13's models assign, and that is what the configuration says until then."""

    def __init__(self, of_config: str, default: Any) -> None:
        self._of_config = of_config
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self._default
        if self._name in model.__dict__:
            return model.__dict__[self._name]
        config = model._config or context.get_predictor_config()
        return self._default if config is None else getattr(config, self._of_config)

    def __set__(self, model: Any, value: Any) -> None:
        model.__dict__[self._name] = value


class Model(InferenceModel):
    """A model with hooks, each of which may be overridden by a function or a coroutine function.

    The default ``predict`` asks the predictor, the default ``explain`` the explainer at ``explainer_host``. Where the
    predictor is: what is assigned to ``predictor_host``, ``protocol``, ``timeout`` and ``use_ssl``, then the
    ``predictor_config`` that was given, then the one of the server.
    """

    predictor_host = _PredictorSetting("predictor_host", None)
    protocol = _PredictorSetting("predictor_protocol", PredictorProtocol.REST_V1.value)
    timeout = _PredictorSetting("predictor_request_timeout_seconds", 600)
    use_ssl = _PredictorSetting("predictor_use_ssl", False)
    _config: PredictorConfig | None = None

    def __init__(
        self,
        name: str,
        predictor_config: PredictorConfig | bool | None = None,
        return_response_headers: bool = False,
    ) -> None:
        """``return_response_headers`` is whether ``predict`` and ``postprocess`` take a dict for them as well."""
        super().__init__(name)
        if isinstance(predictor_config, bool):  # KServe 0.21 has nothing in between
            return_response_headers = predictor_config
        else:
            self._config = predictor_config
        self._thread: OwnThread | None = OwnThread()
        self.explainer_host: str | None = None
        self.enable_latency_logging = False
        self.required_response_headers = return_response_headers

    @property
    def predictor_config(self) -> PredictorConfig | None:
        """Where the predictor is and how it is asked; ``None`` if nobody has said."""
        config = self._config or context.get_predictor_config()
        if config is None and self.predictor_host is None:
            return None
        protocol = self.protocol.value if isinstance(self.protocol, PredictorProtocol) else self.protocol
        return PredictorConfig(
            self.predictor_host,
            protocol,
            self.use_ssl,
            self.timeout,
            0 if config is None else config.predictor_request_retries,
            False if config is None else config.predictor_health_check,
        )

    async def __call__(self, body: Any, verb: Any = InferenceVerb.PREDICT, headers: Any = None) -> Any:
        """Pass a request through the hooks. ``verb`` and ``headers`` may be in either order.

        Answers the response, in KServe 0.21's way together with the response's headers; see ``dialect``.
        """
        if not isinstance(verb, InferenceVerb):
            verb, headers = (headers if isinstance(headers, InferenceVerb) else InferenceVerb.PREDICT), verb
        response, response_headers = await self._pass(body, headers, verb)
        return response if dialect.is_old() else (response, response_headers)

    async def answer(self, body: Any, headers: Headers, verb: InferenceVerb) -> tuple[Any, dict[str, str]]:
        """The response and its headers, whichever dialect is spoken, for servers. A model may have overridden
        ``__call__``."""
        if type(self).__call__ is Model.__call__:
            return await self._pass(body, headers, verb)
        said = self(body, headers=headers, verb=verb)
        response = await said if inspect.isawaitable(said) else said
        if isinstance(response, tuple) and len(response) == 2:
            return response
        return response, {}

    async def _pass(self, body: Any, headers: Headers, verb: InferenceVerb) -> tuple[Any, dict[str, str]]:
        """Through the hooks, one after the other, with a look at the clock between them."""
        times, thread = times_of(self.name), self._thread
        response_headers: dict[str, str] = {}
        more = (response_headers,) if self.required_response_headers else ()
        begun = perf_counter()
        if getattr(self.preprocess, "__func__", None) is not Model.preprocess:
            body = await call_hook(thread, self.preprocess, body, headers)
        payload = self.validate(body)
        prepared = perf_counter()
        times.preprocess.observe(prepared - begun)
        if verb is InferenceVerb.EXPLAIN:
            response = await call_hook(thread, self.explain, payload, headers)
        elif verb is InferenceVerb.PREDICT:
            response = await call_hook(thread, self.predict, payload, headers, *more)
        else:
            raise NotImplementedError(f"a model can predict and explain, not {verb.name.lower()}")
        computed = perf_counter()
        explains = verb is InferenceVerb.EXPLAIN
        (times.explain if explains else times.predict).observe(computed - prepared)
        if getattr(self.postprocess, "__func__", None) is not Model.postprocess:
            response = await call_hook(thread, self.postprocess, response, headers, *more)
        finished = perf_counter()
        times.postprocess.observe(finished - computed)
        if self.enable_latency_logging:
            _trace(headers, explains, begun, prepared, computed, finished)
        return response, response_headers

    def validate(self, payload: Any) -> Any:
        """What is a document must have a list where the protocol has one. Raises InvalidInput."""
        if not isinstance(payload, InferRequest) and isinstance(payload, Mapping):
            wanted = _LISTS.get(self.protocol)
            if wanted is not None and wanted in payload and not isinstance(payload[wanted], list):
                raise InvalidInput(f'Expected "{wanted}" to be a list')
        return payload

    async def preprocess(self, payload: Any, headers: Any = None) -> Any:
        """To be overridden: from what the client sent (a dict over v1, an InferRequest over v2) to what ``predict``
        takes, or to what the predictor is sent."""
        return payload

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """To be overridden: infer. By default the predictor is asked.

        Raises NotImplementedError where there is none, and what ``forwarding`` says where it does not answer.
        """
        config = self.predictor_config
        if config is None:
            missing = "predictor_host" if dialect.is_old() else "PredictorConfig"
            raise NotImplementedError(f"Could not find {missing}.")
        if not config.predictor_host:
            raise NotImplementedError("Could not find predictor_host.")
        return await forwarding.predict(config, self.name, payload, headers, response_headers)

    async def explain(self, payload: Any, headers: Any = None) -> Any:
        """To be overridden: explain. By default the explainer at ``explainer_host`` is asked, over v1."""
        if self.explainer_host is None:
            raise NotImplementedError("Could not find explainer_host.")
        config = PredictorConfig(
            self.explainer_host,
            predictor_use_ssl=self.use_ssl,
            predictor_request_timeout_seconds=self.timeout,
            predictor_request_retries=getattr(self.predictor_config, "retries", 0),
        )
        return await forwarding.explain(config, self.name, payload, headers)

    async def postprocess(self, result: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """To be overridden: from what ``predict`` gave to what the client gets."""
        return result


#: What must be a list in a document, by the predictor's protocol.
_LISTS: Final[Mapping[Any, str]] = {
    PredictorProtocol.REST_V1.value: "instances",
    PredictorProtocol.REST_V2.value: "inputs",
    PredictorProtocol.REST_V1: "instances",
    PredictorProtocol.REST_V2: "inputs",
}


def is_v2(protocol: PredictorProtocol) -> bool:
    return protocol != PredictorProtocol.REST_V1


def get_latency_ms(start: float, end: float) -> float:
    """The milliseconds between two moments in seconds."""
    return round((end - start) * 1000, 9)


#: Milliseconds with the digits that KServe tells.
_LINE: Final = "requestId: %s, preprocess_ms: %.9g, explain_ms: %.9g, predict_ms: %.9g, postprocess_ms: %.9g"


def _trace(
    headers: Headers, explains: bool, begun: float, prepared: float, computed: float, finished: float
) -> None:
    request_id = headers.get("x-request-id", "N.A.") if headers else "N.A."
    inner = (computed - prepared) * 1000
    explained, predicted = (inner, 0.0) if explains else (0.0, inner)
    log_time(_LINE, request_id, (prepared - begun) * 1000, explained, predicted, (finished - computed) * 1000)
