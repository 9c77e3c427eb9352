"""One execution: requests join, the runtime computes, the answer is cut apart. Knows no thread and no queue."""

import logging
from collections.abc import Sequence

from dragoman.errors import DragomanError, InvalidOutput
from dragoman.runtimes.base import Emit, Runtime
from dragoman.runtimes.failure import failed
from dragoman.scheduling.batch import merge, split
from dragoman.scheduling.scheduler import Outcome
from dragoman.types import InferRequest, InferResponse

log = logging.getLogger("dragoman.workers")


#: What ends the process of a model that raises it.
Fatal = tuple[type[BaseException], ...]


def execute(
    runtime: Runtime, requests: Sequence[InferRequest], emit: Emit, fatal: Fatal = ()
) -> Sequence[Outcome]:
    """Answer these requests, in order, with one execution; raises nothing but what is ``fatal``.

    Requests that fail together are tried one by one, so that one client's bad rows fail alone; a runtime that takes
    requests as they are decides about that itself.
    """
    if runtime.takes_requests:
        return _execute_requests(runtime, requests, emit)
    if len(requests) == 1:
        return [execute_one(runtime, requests[0], fatal)]
    try:
        return [*split(runtime.execute(merge(requests)), requests)]
    except BaseException as error:
        if isinstance(error, fatal) and not isinstance(error, MemoryError):  # one alone needs less
            raise
        log.info("a joined execution failed: its requests go one by one", extra={"requests": len(requests)})
    return [execute_one(runtime, request, fatal) for request in requests]


def execute_one(runtime: Runtime, request: InferRequest, fatal: Fatal = ()) -> Outcome:
    """Answer one request; raises nothing but what is ``fatal``."""
    try:
        response = runtime.execute(request)
    except fatal:
        raise
    except DragomanError as error:
        return error
    except BaseException as error:  # a model that calls sys.exit() must not take the server with it
        return failed(request, error)
    response.id = request.id
    if request.outputs is not None:
        return _select(response, request.outputs)
    return response


def _execute_requests(runtime: Runtime, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
    try:
        return _counted(runtime.execute_requests(requests, emit), requests)
    except DragomanError as error:
        return [error] * len(requests)
    except BaseException as error:
        return [failed(requests[0], error)] * len(requests)


async def execute_concurrently(
    runtime: Runtime, requests: Sequence[InferRequest], emit: Emit
) -> Sequence[Outcome]:
    """``execute`` for a runtime that is ``concurrent``; never raises."""
    try:
        return _counted(await runtime.execute_concurrently(requests, emit), requests)
    except DragomanError as error:
        return [error] * len(requests)
    except BaseException as error:
        return [failed(requests[0], error)] * len(requests)


def _counted(outcomes: Sequence[Outcome], requests: Sequence[InferRequest]) -> Sequence[Outcome]:
    if len(outcomes) != len(requests):
        failure = InvalidOutput(
            f"model {requests[0].model!r} answered {len(outcomes)} of {len(requests)} requests"
        )
        return [failure] * len(requests)
    return outcomes


def _select(response: InferResponse, wanted: Sequence[str]) -> Outcome:
    """Only the wanted outputs, in the model's order."""
    outputs = tuple([tensor for tensor in response.outputs if tensor.name in wanted])
    if len(outputs) != len(wanted):
        missing = sorted(set(wanted) - {tensor.name for tensor in outputs})
        return InvalidOutput(f"model {response.model!r} did not answer with output {missing[0]!r}")
    response.outputs = outputs
    return response
