"""Binds a user's ``predict`` to requests: its parameters are read once, at load. Knows no file."""

import inspect
from collections.abc import Callable
from typing import Any

from dragoman.errors import ConfigError, InvalidInput
from dragoman.types import InferRequest, TensorSpec

Call = Callable[[InferRequest], Any]

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def bind_predict(predict: Callable[..., Any], inputs: tuple[TensorSpec, ...]) -> Call:
    """A function from request to result that calls ``predict`` the way its parameters ask for.

    One parameter annotated InferRequest gets the request; one called ``inputs`` (unless an input has that
    name) a dict of arrays; anything else gets arrays by name. Where nothing is declared, a ``predict`` of
    one parameter takes a single input whatever it is called. Raises ConfigError when parameters and inputs
    don't fit.
    """
    tests = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    if any(test(predict) for test in tests):
        raise ConfigError(
            "predict is async or a generator, which the python runtime doesn't run yet",
            hint="write a plain 'def predict' that returns its outputs",
        )
    parameters = list(inspect.signature(predict).parameters.values())
    if len(parameters) == 1 and parameters[0].kind in _BY_NAME:
        only = parameters[0]
        if _is_request(only.annotation):
            return predict
        if only.name == "inputs" and all(spec.name != "inputs" for spec in inputs):
            return lambda request: predict({tensor.name: tensor.data for tensor in request.inputs})
    return _bind_declared(predict, parameters, inputs) if inputs else _bind_undeclared(predict, parameters)


def required(parameters: list[inspect.Parameter]) -> set[str]:
    """The names that a call can't leave out."""
    return {
        each.name for each in parameters if each.default is inspect.Parameter.empty and each.kind in _BY_NAME
    }


def _bind_declared(
    predict: Callable[..., Any], parameters: list[inspect.Parameter], inputs: tuple[TensorSpec, ...]
) -> Call:
    names = {spec.name for spec in inputs}
    takes, open_ended = _taken(parameters)
    needs = required(parameters)
    if needs - names or not (open_ended or names <= takes):
        takes_names, input_names = ", ".join(sorted(takes)) or "nothing", ", ".join(sorted(names))
        raise ConfigError(
            f"predict takes {takes_names}, but the inputs are {input_names}",
            hint="name predict's parameters after the inputs, or take one parameter called inputs",
        )
    absent = {spec.name: None for spec in inputs if spec.optional and spec.name in needs}
    if absent:
        return lambda request: predict(**(absent | {tensor.name: tensor.data for tensor in request.inputs}))

    def call(request: InferRequest) -> Any:
        arrays = {}
        for tensor in request.inputs:  # a comprehension would be one more call
            arrays[tensor.name] = tensor.data
        return predict(**arrays)

    return call


def _bind_undeclared(predict: Callable[..., Any], parameters: list[inspect.Parameter]) -> Call:
    takes, open_ended = _taken(parameters)
    needs = required(parameters)
    single = len(parameters) == 1 and not open_ended

    def call(request: InferRequest) -> Any:
        given = {tensor.name: tensor.data for tensor in request.inputs}
        if single and len(given) == 1:
            return predict(*given.values())
        if not needs <= given.keys() or not (open_ended or given.keys() <= takes):
            raise InvalidInput(
                f"the model takes the inputs {', '.join(sorted(takes))}; got {', '.join(given) or 'none'}"
            )
        return predict(**given)

    return call


def _taken(parameters: list[inspect.Parameter]) -> tuple[set[str], bool]:
    """The names that ``predict`` takes, and whether it takes any other too."""
    names = {each.name for each in parameters if each.kind in _BY_NAME}
    return names, any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def _is_request(annotation: Any) -> bool:
    # Text where the user's file says "from __future__ import annotations".
    return annotation is InferRequest or (isinstance(annotation, str) and annotation.endswith("InferRequest"))
