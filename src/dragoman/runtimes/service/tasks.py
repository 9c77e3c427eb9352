"""One request to a service as a task: the arguments of one or more calls, and what their results become.

Knows both ways in, HTTP and tensors; who runs the calls is others' business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dragoman.errors import InvalidOutput
from dragoman.runtimes.convert import select
from dragoman.runtimes.service import answers, requests, tensors
from dragoman.runtimes.service.answers import Identity
from dragoman.runtimes.service.calls import HttpCall, read_call
from dragoman.runtimes.service.endpoints import Endpoint
from dragoman.runtimes.service.places import Plan
from dragoman.types import InferRequest, InferResponse

Arguments = dict[str, Any]


@dataclass(slots=True)
class Task:
    """``finish`` takes the result of every call. Where the client can take parts, ``item`` makes one of what a stream
    yields, and ``end`` the last."""

    request: InferRequest
    endpoint: Endpoint
    calls: list[Arguments]
    finish: Callable[[Sequence[Any]], InferResponse]
    item: Callable[[Any], InferResponse] | None = None
    end: Callable[[], InferResponse] | None = None


def http_task(request: InferRequest, endpoints: Mapping[str, Endpoint], identity: Identity) -> Task:
    """Raises Unprocessable."""
    call = read_call(request.parameters, request.inputs[0].data.item())
    endpoint = endpoints[call.endpoint]
    arguments = requests.read_http(endpoint, call)
    finish = partial(_finish_http, endpoint, call, identity)
    task = Task(request, endpoint, [arguments], finish)
    if endpoint.stream:
        task.item = partial(answers.encode_item, endpoint, call, identity)
        task.end = partial(answers.encode_end, endpoint, call, identity)
    return task


def tensor_task(request: InferRequest, endpoint: Endpoint, plan: Plan, identity: Identity) -> Task:
    """Raises InvalidInput, Unprocessable among it."""
    named = tensors.read_arguments(plan, request)
    calls = [requests.check_named(endpoint, each) for each in named]
    return Task(request, endpoint, calls, partial(_finish_tensors, endpoint, plan, identity, request))


def join(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks that become one call each: those of one batched endpoint whose other arguments are equal."""
    groups: list[list[Task]] = []
    for task in tasks:
        for group in groups:
            if _alike(group[0], task):
                group.append(task)
                break
        else:
            groups.append([task])
    return groups


def merge(group: Sequence[Task]) -> Arguments:
    """The arguments of the one call for all of a group."""
    first = group[0].calls[0]
    names = rows_of(group[0])
    return {
        name: concatenate([task.calls[0][name] for task in group]) if name in names else value
        for name, value in first.items()
    }


def split(group: Sequence[Task], result: Any) -> list[Any]:
    """Each task's part of the result of the one call. Raises InvalidOutput where the rows are not those asked for."""
    counts = [len(task.calls[0][rows_of(task)[0]]) for task in group]
    cuts, total = [], 0
    for count in counts:
        cuts.append((total, total + count))
        total += count
    return [_slice(group[0].endpoint.name, result, start, end, total) for start, end in cuts]


def rows_of(task: Task) -> list[str]:
    """The arguments of a task that are rows."""
    return [
        name
        for name in task.endpoint.rows
        if name in task.calls[0] and hasattr(task.calls[0][name], "__len__")
    ]


def concatenate(parts: Sequence[Any]) -> Any:
    """Lists, or arrays, one after the other."""
    if isinstance(parts[0], list):
        return [each for part in parts for each in part]
    import numpy as np

    return np.concatenate(parts)


def _alike(one: Task, other: Task) -> bool:
    if one.endpoint is not other.endpoint or not one.endpoint.options.batch:
        return False
    names = rows_of(one)
    if not names or names != rows_of(other) or one.calls[0].keys() != other.calls[0].keys():
        return False
    if any(len({len(task.calls[0][name]) for name in names}) > 1 for task in (one, other)):
        return False
    same_rows = all(_row_shape(one.calls[0][name]) == _row_shape(other.calls[0][name]) for name in names)
    rest = [name for name in one.calls[0] if name not in names]
    return same_rows and all(one.calls[0][name] == other.calls[0][name] for name in rest)


def _row_shape(rows: Any) -> Any:
    return getattr(rows, "shape", (0,))[1:], getattr(rows, "dtype", None)


def _slice(name: str, result: Any, start: int, end: int, total: int) -> Any:
    if isinstance(result, Mapping):
        return {key: _slice(name, value, start, end, total) for key, value in result.items()}
    if hasattr(result, "model_copy"):  # a pydantic model of lists
        fields = {
            key: _slice(name, getattr(result, key), start, end, total) for key in type(result).model_fields
        }
        return result.model_copy(update=fields)
    if not hasattr(result, "__getitem__") or len(result) != total:
        got = len(result) if hasattr(result, "__len__") else type(result).__name__
        raise InvalidOutput(f"{name} got {total} rows and returned {got}")
    return result[start:end]


def _finish_http(
    endpoint: Endpoint, call: HttpCall, identity: Identity, results: Sequence[Any]
) -> InferResponse:
    return answers.encode_http(endpoint, call, identity, results[0])


def _finish_tensors(
    endpoint: Endpoint, plan: Plan, identity: Identity, request: InferRequest, results: Sequence[Any]
) -> InferResponse:
    if endpoint.stream:
        plain: list[Any] = [[answers.plain(endpoint, item) for item in results[0]]]
    else:
        plain = [answers.plain(endpoint, result) for result in results]
    outputs = tensors.write_results(plan, plain)
    if request.outputs:
        outputs = select(outputs, request)
    return InferResponse(request.model, identity.version, outputs, request.id)
