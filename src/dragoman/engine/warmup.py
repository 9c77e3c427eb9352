"""Requests that a model answers before anybody finds it: its first ones are its slowest."""

import asyncio
from math import prod

import numpy as np

from dragoman.engine.model import Model
from dragoman.errors import ConfigError, DragomanError
from dragoman.scheduling.scheduler import Outcome
from dragoman.types import DTYPES, InferRequest, Tensor, TensorSpec

DIALECT = "warmup"


async def warm_up(model: Model, requests: int) -> None:
    """Ask for so many answers, one after the other. Raises ConfigError when one of them is a failure.

    What is asked are zeros and empty strings, one of each where a dimension may have any size. A model that declares
    no inputs can't be asked anything.
    """
    if not model.signature.inputs:
        return
    inputs = tuple(_zeros(spec) for spec in model.signature.inputs if not spec.optional)
    for _ in range(requests):
        outcome = await _ask(model, InferRequest(model.name, inputs, model.version))
        if isinstance(outcome, DragomanError):
            raise ConfigError(
                f"the model failed on a request of zeros before it was published: {outcome.message}",
                hint="set warmup = 0 if zeros are nothing it can take",
            )


async def _ask(model: Model, request: InferRequest) -> Outcome:
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def reply(outcome: Outcome) -> None:
        if not future.done() and (isinstance(outcome, DragomanError) or outcome.final):
            future.set_result(outcome)

    model.infer(request, reply, DIALECT)
    return await future


def _zeros(spec: TensorSpec) -> Tensor:
    shape = [1 if size < 0 else size for size in spec.shape]
    if spec.datatype == "BYTES":
        data = np.array([b""] * prod(shape), dtype=object).reshape(shape)
    else:
        data = np.zeros(shape, DTYPES[spec.datatype])
    return Tensor(spec.name, spec.datatype, data)
