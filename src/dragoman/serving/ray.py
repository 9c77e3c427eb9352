"""Models that are deployments of Ray Serve: KServe's ``RayModel``, and the dict form of ``ModelServer.start``.

A deployed class is called as a model is, most often because it is one; its hooks run where Ray has put it. Its errors
keep their kind, and who leaves gives up what was asked there, too.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.model import InferenceModel, InferenceVerb
from dragoman.errors import WorkerDied
from dragoman.workers.cluster import translate
from dragoman.workers.ray_session import call_blocking, join_now
from dragoman.workers.remote import ReplicaDied


class RayModel(InferenceModel):
    """A model behind a handle of Ray Serve.

    With ``stream`` its ``predict`` is called as the generator it is, and its parts are handed out as they come.
    """

    def __init__(self, name: str, handle: Any, stream: bool = False) -> None:
        super().__init__(name)
        self._handle = handle
        self._call = handle.options(method_name="__call__")
        self._parts = handle.options(method_name="predict", stream=True) if stream else None
        self.ready = True

    async def __call__(self, body: Any, *more: Any, **named: Any) -> Any:
        """KServe's two APIs have the verb and the headers in another order; see ``Model.__call__``."""
        given = [*more, *named.values()]
        verb = next((each for each in given if isinstance(each, InferenceVerb)), InferenceVerb.PREDICT)
        headers = next((each for each in given if isinstance(each, Mapping)), None)
        response, response_headers = await self.answer(body, headers, verb)
        return response if dialect.is_old() else (response, response_headers)

    async def answer(
        self, body: Any, headers: Mapping[str, str] | None, verb: InferenceVerb
    ) -> tuple[Any, dict[str, str]]:
        """The response and its headers. Raises what the deployment raised, and kinds of ``dragoman.errors``."""
        headers = dict(headers or {})
        if self._parts is not None and verb is InferenceVerb.PREDICT:
            return _hand_out(self.name, self._parts.remote(body, headers)), {}
        asked: dict[str, Any] = {"headers": headers}
        if verb is not InferenceVerb.PREDICT:  # a class that knows no verbs can predict
            asked["verb"] = verb
        response = self._call.remote(body, **asked)
        try:
            answer = await response
        except BaseException as error:
            raise _translated(self.name, error, response) from None
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
            return answer
        return answer, {}

    def load(self) -> bool:
        """Ray has loaded it: there is nothing to do."""
        self.ready = True
        return self.ready


def models_of(deployments: Mapping[str, Any]) -> list[RayModel]:
    """Run each deployment, bound or to be bound without arguments, under its name; returns when all can answer.

    Their own options, ``autoscaling_config`` and ``max_queued_requests`` among them, are left as they are. Raises
    ConfigError where Ray is not installed or can't be reached.
    """
    join_now()
    return [RayModel(name, call_blocking(partial(_run, name, each))) for name, each in deployments.items()]


def _run(name: str, deployment: Any) -> Any:
    from ray import serve

    bound = deployment.bind() if hasattr(deployment, "bind") else deployment
    return serve.run(bound, name=name, route_prefix=None)


async def _hand_out(name: str, parts: Any) -> AsyncIterator[Any]:
    try:
        async for part in parts:
            yield part
    except GeneratorExit:
        parts.cancel()
        raise
    except BaseException as error:
        raise _translated(name, error, parts) from None


def _translated(name: str, error: BaseException, response: Any) -> BaseException:
    found = translate(error, response)
    if isinstance(found, ReplicaDied):
        return WorkerDied(f"a replica of model {name!r} died: {found.words}")
    return found
