"""Models that call models: steps that hand tensors on, each taken as soon as everything it needs is there.

::

    request ──► step ──► tensor ──► step ──► wanted tensor ──► response
                  └────► tensor ──► step ──────┘     steps that don't need each other run side by side

Tensors are known by their names in the ensemble, and nothing is known of what they mean. Who is asked, and where it
runs, is the business of ``ask``, which most often is the engine's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dragoman.errors import (
    ConfigError,
    DeadlineExceeded,
    DragomanError,
    InvalidInput,
    ModelFailed,
    NotFound,
)
from dragoman.types import InferRequest, InferResponse, Tensor

Ask = Callable[[InferRequest], Awaitable[InferResponse]]
Made = Mapping[str, "asyncio.Future[Tensor]"]


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a model.

    ``inputs`` are the model's inputs and the tensors they are taken from; ``None`` takes the request's own tensors as
    they are. ``outputs`` are the model's outputs and the tensors they become. A call that fails is made again until
    there were so many ``attempts``, each with ``timeout`` seconds; 0 is no limit.
    """

    name: str
    model: str
    version: str = ""
    inputs: Mapping[str, str] | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    timeout: float = 0.0


class StepFailed(DragomanError):
    """A step could not be taken, and why; its kind is that of the cause."""

    def __init__(self, step: str, cause: DragomanError) -> None:
        super().__init__(f"step {step!r} failed: {cause.message}")
        self.code = cause.code
        self.step = step
        self.cause = cause


class Ensemble:
    """Steps in any order. ``given`` are the names of the request's tensors, ``wanted`` those of the response's.

    Raises ConfigError for steps that wait for each other, or for what nobody makes.
    """

    def __init__(self, steps: Sequence[Step], wanted: Sequence[str], given: Collection[str] = ()) -> None:
        self.steps = tuple(steps)
        self.wanted = tuple(wanted)
        self._given = tuple(given)
        self._needed = {name for step in steps for name in (step.inputs or {}).values()} | set(wanted)
        _check(self.steps, self.wanted, self._given)

    async def run(self, request: InferRequest, ask: Ask) -> InferResponse:
        """Answer a request, whose id, parameters, deadline and priority every step's request has, too.

        Raises InvalidInput for a tensor that the request lacks, and StepFailed for the first step that fails; the
        others are given up.
        """
        made = self._promise(request)
        try:
            async with asyncio.TaskGroup() as group:
                for step in self.steps:
                    group.create_task(_take(step, request, made, ask))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        outputs = tuple(replace(made[name].result(), name=name) for name in self.wanted)
        return InferResponse(request.model, request.version, outputs, request.id)

    def _promise(self, request: InferRequest) -> Made:
        """Every tensor there is or will be."""
        loop = asyncio.get_running_loop()
        names = [name for step in self.steps for name in step.outputs.values()]
        made: dict[str, asyncio.Future[Tensor]] = {
            name: loop.create_future() for name in (*self._given, *names)
        }
        for tensor in request.inputs:
            if tensor.name in self._given:
                made[tensor.name].set_result(tensor)
        for name in self._given:
            if name in self._needed and not made[name].done():
                raise InvalidInput(f"input {name!r} is missing")
        return made


async def _take(step: Step, request: InferRequest, made: Made, ask: Ask) -> None:
    inputs = request.inputs
    if step.inputs is not None:
        inputs = tuple([replace(await made[source], name=name) for name, source in step.inputs.items()])
    asked = replace(request, model=step.model, version=step.version, inputs=inputs, outputs=None)
    try:
        response = await _attempt(step, asked, ask)
        for name, goal in step.outputs.items():
            made[goal].set_result(_output(response, name))
    except DragomanError as error:
        raise StepFailed(step.name, error) from error


async def _attempt(step: Step, request: InferRequest, ask: Ask) -> InferResponse:
    for left in reversed(range(step.attempts)):
        try:
            async with asyncio.timeout(step.timeout or None):
                return await ask(request)
        except NotFound:
            raise
        except DragomanError:
            if not left:
                raise
        except TimeoutError:
            if not left:
                raise DeadlineExceeded(f"no answer within {step.timeout:g} s") from None
    raise AssertionError("a step has one attempt at least")


def _output(response: InferResponse, name: str) -> Tensor:
    try:
        return response.output(name)
    except KeyError:
        raise ModelFailed(f"model {response.model!r} did not answer with output {name!r}") from None


def _check(steps: Sequence[Step], wanted: Sequence[str], given: Collection[str]) -> None:
    makers = dict.fromkeys(given, "the request")
    for step in steps:
        for name in step.outputs.values():
            if name in makers:
                raise ConfigError(f"tensor {name!r} is made twice, by {makers[name]!r} and by {step.name!r}")
            makers[name] = step.name
    needs = {step.name: set((step.inputs or {}).values()) for step in steps}
    for who, names in (*needs.items(), ("the response", set(wanted))):
        for name in sorted(names - makers.keys()):
            raise ConfigError(f"tensor {name!r}, which {who} needs, is made by nobody")
    there = set(given)
    left = list(steps)
    while ready := [step for step in left if needs[step.name] <= there]:
        there.update(name for step in ready for name in step.outputs.values())
        left = [step for step in left if step not in ready]
    if left:
        raise ConfigError(f"steps wait for each other: {', '.join(sorted(step.name for step in left))}")
