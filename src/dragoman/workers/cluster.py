"""Ray Serve, as far as it is used here: replicas of models are made, asked, and let go. Knows no scheduler.

Each replica is an application of its own with one deployment of one replica: Ray places it, watches over it and starts
it again, and who gets what to do is decided by the model's own queue. Serve's HTTP proxies are not started.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from dragoman.errors import NotReady, Overloaded
from dragoman.scheduling.scheduler import Emit
from dragoman.types import InferRequest
from dragoman.workers.ray_session import join, on_thread, put
from dragoman.workers.remote import ReplicaDied
from dragoman.workers.replica import Answer, Order, Part, Replica

#: Requests that Serve lets a replica have beside its batches: who asks how it is must not wait for them.
BESIDE: Final = 2
#: Seconds between two looks whether a replica has gone.
PAUSE: Final = 0.1


async def make_replica(name: str, order: Order, resources: Mapping[str, Any], ongoing: int) -> "RayLine":
    """A replica that is on its way: ``probe`` says when it is there. Joins the cluster, or starts one, if need be.

    ``resources`` are Ray's actor options. Raises ConfigError where Ray is not installed or can't be reached.
    """
    await join()
    try:
        handle = await on_thread(partial(_deploy, name, order, resources, ongoing))
    except asyncio.CancelledError:  # what runs on the thread can't be stopped, but undone
        put(partial(_delete, name))
        raise
    return RayLine(name, handle)


class RayLine:
    """The way to one replica; awaited on the server's event loop."""

    def __init__(self, name: str, handle: Any) -> None:
        self._name = name
        self._handle = handle
        self._run = handle.options(method_name="run")
        self._stream = handle.options(method_name="stream", stream=True)
        self.streams = False  #: whether answers come in parts

    async def describe(self) -> dict[str, Any]:
        """What the replica says of its model, when it has loaded it."""
        found: dict[str, Any] = await _answer(self._handle.describe.remote())
        return found

    async def probe(self) -> None:
        failure = (await self.describe()).get("failure")
        if failure:
            raise NotReady(f"a replica could not load its model again: {failure['reason']}")

    async def ask(self, requests: Sequence[InferRequest], emit: Emit) -> Answer:
        if not self.streams:
            found: Answer = await _answer(self._run.remote(requests))
            return found
        parts = self._stream.remote(requests)
        try:
            async for part in parts:
                if isinstance(part, Answer):
                    return part
                assert isinstance(part, Part)
                emit(part.place, part.response)
        except BaseException as error:
            raise translate(error, parts) from None
        raise ReplicaDied("its answer ended too early")

    async def close(self) -> None:
        await on_thread(partial(_delete, self._name))
        while await on_thread(partial(_is_there, self._name)):  # meanwhile others may go, too
            await asyncio.sleep(PAUSE)


async def _answer(response: Any) -> Any:
    try:
        return await response
    except BaseException as error:
        raise translate(error, response) from None


def translate(error: BaseException, response: Any) -> BaseException:
    """What an error of a call of Ray Serve's means: ReplicaDied, an error of ours, or what the user's code raised.

    Who doesn't wait any more for the ``response`` gives it up there, too.
    """
    if isinstance(error, asyncio.CancelledError):
        response.cancel()
        return error
    from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

    if isinstance(error, BackPressureError):
        return Overloaded("the model's replicas have as many requests waiting as they may")
    if isinstance(error, RayTaskError):
        # Its text is a traceback; the cause is what was raised.
        cause = error.cause
        return cause if isinstance(cause, Exception) else error
    if isinstance(error, RayActorError | ObjectLostError | NodeDiedError):
        return ReplicaDied(_words(str(error)))
    if isinstance(error, TaskCancelledError):
        return ReplicaDied("it has been told to stop")
    if isinstance(error, DeploymentUnavailableError):
        return NotReady("the model's replicas could not be started; the cluster's log says why")
    if isinstance(error, RayServeException):  # the replica that was chosen isn't there any more
        return ReplicaDied("it has gone before it was asked")
    return error


def _words(text: str) -> str:
    """Why a replica died, without what is nobody's business outside: addresses, pids and names of the cluster."""
    if "OOM" in text.partition("Some common causes")[0]:
        return "out of memory: the node's memory was needed"
    if "SYSTEM_ERROR" in text or "unexpectedly" in text:
        return "its process ended unexpectedly"
    if "node" in text.lower() and "died" in text.lower():
        return "the machine it ran on has gone"
    return "the cluster has ended it"


# Ray's blocking calls.


def _deploy(name: str, order: Order, resources: Mapping[str, Any], ongoing: int) -> Any:
    from ray import serve

    deployment = serve.deployment(
        name="replica",
        num_replicas=1,
        max_ongoing_requests=ongoing + BESIDE,
        ray_actor_options=dict(resources),
    )(Replica)
    target = serve.RunTarget(deployment.bind(order), name=name, route_prefix=None)
    (handle,) = serve.run_many([target], wait_for_applications_running=False)
    return handle


def _delete(name: str) -> None:
    import ray
    from ray import serve

    if ray.is_initialized():  # else Ray has ended already, and everything with it
        serve.delete(name, _blocking=False)


def _is_there(name: str) -> bool:
    import ray
    from ray import serve

    return ray.is_initialized() and name in serve.status().applications


def application_name(model: str, version: str) -> str:
    """A name that no other replica has, and that tells people what it is."""
    return f"dragoman-{model}-{version}-{secrets.token_hex(4)}"
