"""Loads a service and answers requests with its methods, one by one, joined where they allow it, or side by side.

::

    NEW ──__init__, startup──► READY ──requests──► ... ──shutdown──► closed

Knows tasks and methods; hints, wires and answers have files of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

from dragoman.errors import DragomanError
from dragoman.runtimes.base import Artifact, Emit, Runtime
from dragoman.runtimes.failure import failed
from dragoman.runtimes.importing import call_user, folder_of
from dragoman.runtimes.service.answers import JSON, Identity, respond
from dragoman.runtimes.service.describing import complete, describe, find_run
from dragoman.runtimes.service.endpoints import Endpoint, find_endpoints, primary
from dragoman.runtimes.service.finding import options_of
from dragoman.runtimes.service.places import Plan, make_plan
from dragoman.runtimes.service.tasks import Task, http_task, join, merge, split, tensor_task
from dragoman.services import Functions
from dragoman.tensors import dump_json
from dragoman.types import InferRequest, InferResponse

Outcome = InferResponse | DragomanError
T = TypeVar("T")

#: Requests that are handed over together where a method joins rows and the operator has not said how many.
DEFAULT_BATCH: Final = 64
_END: Final = object()


class ServiceRuntime(Runtime):
    """One started service."""

    extra = "service"
    takes_requests: ClassVar[bool] = True

    def __init__(self, artifact: Artifact, service: Any) -> None:
        self._runner: asyncio.Runner | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._name = artifact.name
        folder = folder_of(artifact)
        self._subject = self._start(artifact, service)
        self._endpoints = {each.name: each for each in find_endpoints(self._subject)}
        every = tuple(self._endpoints.values())
        self._primary = primary(every)
        self.concurrent = any(each.concurrent for each in every)
        self.fast = bool(getattr(self._subject, "fast", False)) and not self.concurrent
        self._plans = {each.name: _plan(each) for each in every}
        self.signature = self._plans[self._primary.name].signature
        self.faces = MappingProxyType(
            {each.name: self._plans[each.name].signature for each in every if self._is_face(each)}
        )
        if any(each.options.batch for each in every):
            self.most_requests = DEFAULT_BATCH
        options = complete(options_of(service), service, artifact.name)
        run = find_run(self._shown("run_id"), folder)
        self._identity = Identity(artifact.name, artifact.version, run, options.envelope)
        self.description = describe(options, every, run)

    @classmethod
    def load(cls, artifact: Artifact) -> Runtime:
        """What the artifact's module holds: a service, or a plain class that the python runtime runs."""
        from dragoman.runtimes.python import PythonRuntime

        return PythonRuntime.load(artifact)

    def execute(self, request: InferRequest) -> InferResponse:
        """Answer one request; the parts of a stream before its last are lost."""
        (outcome,) = self.execute_requests([request], lambda place, response: None)
        if isinstance(outcome, DragomanError):
            raise outcome
        return outcome

    def execute_requests(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """Answer these; rows of those that want the same of a batched method become one call."""
        work = self.execute_concurrently(requests, emit)
        return self.finish(work) if self.concurrent else _drive(work)

    async def execute_concurrently(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """The same beside others. What one of them raises is its own outcome."""
        outcomes: dict[int, Outcome] = {}
        tasks: list[Task] = []
        places: list[int] = []
        for place, request in enumerate(requests):
            try:
                tasks.append(self._task(request))
                places.append(place)
            except Exception as error:
                outcomes[place] = _outcome(request, error)
        where = {id(task): place for task, place in zip(tasks, places, strict=True)}
        for group in join(tasks):
            found = await self._run_group(group, where, emit)
            outcomes.update({where[id(task)]: each for task, each in zip(group, found, strict=True)})
        return [outcomes[place] for place in range(len(requests))]

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop of the service's own methods."""
        self._runner = self._runner or asyncio.Runner()
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Let the service tidy up: its ``shutdown``."""
        try:
            if callable(hook := self._shown("shutdown")):
                self._settle(hook())
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)
            if self._runner is not None:
                self._runner.close()

    def _start(self, artifact: Artifact, service: Any) -> Any:
        folder = folder_of(artifact)
        supply = {"path": folder, "options": dict(artifact.options), "artifact": artifact}
        if isinstance(service, Functions):
            self._subject = service
            name = "startup"
        else:
            self._subject = call_user(f"{service.__name__}()", service, supply)
            name = f"{service.__name__}.startup"
        if callable(hook := self._shown("startup")):
            call_user(name, hook, supply, finish=self._settle)
        return self._subject

    def _is_face(self, endpoint: Endpoint) -> bool:
        return endpoint is not self._primary and endpoint.options.method != "GET"

    def _shown(self, name: str) -> Any:
        subject = self._subject
        return subject.hooks.get(name) if isinstance(subject, Functions) else getattr(subject, name, None)

    def _settle(self, result: Any) -> Any:
        async def wait() -> Any:
            return await result

        return self.finish(wait()) if isawaitable(result) else result

    def _task(self, request: InferRequest) -> Task:
        if isinstance(request.parameters.get("http"), Mapping):
            return http_task(request, self._endpoints, self._identity)
        name = request.model.removeprefix(f"{self._name}.") if request.model != self._name else ""
        endpoint = self._endpoints.get(name, self._primary)
        return tensor_task(request, endpoint, self._plans[endpoint.name], self._identity)

    async def _run_group(self, group: Sequence[Task], where: Mapping[int, int], emit: Emit) -> list[Outcome]:
        if len(group) > 1:
            try:
                result = await self._call(group[0].endpoint, merge(group))
                parts = split(group, result)
            except Exception:  # one of them may be at fault: each gets a call of its own
                return [await self._run(task, where[id(task)], emit) for task in group]
            return [_finish(task, [part]) for task, part in zip(group, parts, strict=True)]
        return [await self._run(group[0], where[id(group[0])], emit)]

    async def _run(self, task: Task, place: int, emit: Emit) -> Outcome:
        try:
            if task.item is not None and task.end is not None:
                async for item in self._items(task.endpoint, task.calls[0]):
                    emit(place, replace(task.item(item), final=False))
                return task.end()
            if task.endpoint.stream:
                results: list[Any] = [[item async for item in self._items(task.endpoint, task.calls[0])]]
            else:
                results = [await self._call(task.endpoint, arguments) for arguments in task.calls]
        except Exception as error:
            return self._failure(task, error)
        return _finish(task, results)

    async def _call(self, endpoint: Endpoint, arguments: Mapping[str, Any]) -> Any:
        if endpoint.concurrent:
            return await endpoint.function(**arguments)
        return await self._aside(partial(endpoint.function, **arguments))

    async def _items(self, endpoint: Endpoint, arguments: Mapping[str, Any]) -> AsyncIterator[Any]:
        if endpoint.concurrent:
            async for item in endpoint.function(**arguments):
                yield item
            return
        items = iter(endpoint.function(**arguments))
        while (item := await self._aside(partial(next, items, _END))) is not _END:
            yield item

    async def _aside(self, function: Any) -> Any:
        """A plain method of a service that has coroutines, too, does not keep them waiting: it runs on a thread, one
        call at a time."""
        if not self.concurrent:
            return function()
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="service")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _failure(self, task: Task, error: Exception) -> Outcome:
        """Starlette's and FastAPI's exceptions say what is to be answered; they are known by what they have."""
        status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
        if (
            task.endpoint
            and isinstance(status, int)
            and detail is not None
            and "http" in task.request.parameters
        ):
            headers = [
                (str(name), str(value)) for name, value in (getattr(error, "headers", None) or {}).items()
            ]
            return respond(self._identity, status, dump_json({"detail": detail}), JSON, headers)
        return _outcome(task.request, error)


def _finish(task: Task, results: Sequence[Any]) -> Outcome:
    try:
        return task.finish(results)
    except Exception as error:
        return _outcome(task.request, error)


def _outcome(request: InferRequest, error: Exception) -> DragomanError:
    return error if isinstance(error, DragomanError) else failed(request, error)


def _drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a plain method waited")


def _plan(endpoint: Endpoint) -> Plan:
    return make_plan(
        endpoint.parameters, endpoint.result, stream=endpoint.stream, batch=endpoint.options.batch
    )
