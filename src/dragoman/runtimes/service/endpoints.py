"""The endpoints of a service: which of its methods answer, under which path, with what they take and return.

Knows classes and hints, no request.
"""

import inspect
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, get_args, get_origin

from pydantic import TypeAdapter

from dragoman.errors import ConfigError
from dragoman.runtimes.service.arrays import array_type, replace_arrays
from dragoman.runtimes.service.parameters import (
    Parameter,
    adapt,
    bare,
    is_class,
    read_hints,
    read_parameters,
)
from dragoman.services import ENDPOINT_MARK, HOOKS, EndpointOptions, Functions

#: The method that clients mean who know of no methods.
PRIMARY: Final = "predict"
_STREAMS: Final = (Iterator, AsyncIterator, Generator, AsyncGenerator, Iterable, AsyncIterable)


@dataclass(frozen=True)
class Endpoint:
    """One method that answers. ``path`` has the names of path parameters in braces and no prefix.

    ``result`` is the hint of what it returns (of a stream: of each item), arrays replaced; ``None`` where nothing is
    said.
    """

    name: str
    options: EndpointOptions
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    result: Any
    adapter: TypeAdapter[Any] | None

    @property
    def path(self) -> str:
        return self.options.path or "/" + self.name.replace("_", "-")

    @cached_property
    def stream(self) -> bool:
        """Whether it answers item by item."""
        return inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)

    @cached_property
    def concurrent(self) -> bool:
        """Whether others of its calls may run while it waits."""
        return inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)

    @cached_property
    def files(self) -> tuple[Parameter, ...]:
        return tuple(each for each in self.parameters if each.source == "file")

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The parameters whose values are rows, which may be joined with others' where ``options.batch`` is true."""
        return tuple(each.name for each in self.parameters if _is_rows(each.hint))

    @cached_property
    def summary(self) -> str:
        return self.options.summary or self.name.replace("_", " ").capitalize()


def find_endpoints(subject: Any) -> tuple[Endpoint, ...]:
    """The endpoints of a service that has started: its methods, then what it shows of itself.

    Raises ConfigError where a method's hints make no endpoint.
    """
    if isinstance(subject, Functions):
        functions = {function.__name__: function for function in subject.functions}
        shown: Any = subject.hooks
    else:
        functions = dict(_methods(subject))
        shown = {name: getattr(subject, name) for name in HOOKS if hasattr(subject, name)}
    endpoints = [_read(name, function) for name, function in functions.items()]
    taken = {(each.options.method, each.path) for each in endpoints}
    for each in _shown(shown):
        if (each.options.method, each.path) not in taken:
            endpoints.append(each)
    if not endpoints:
        raise ConfigError(
            "the service has no endpoint",
            hint="give a public method hints: def predict(self, text: str) -> str",
        )
    _check_paths(endpoints)
    return tuple(endpoints)


def primary(endpoints: tuple[Endpoint, ...]) -> Endpoint:
    """What v1, v2 and gRPC ask who name only the service: ``predict``, else the first that takes a body."""
    named = [each for each in endpoints if each.name == PRIMARY]
    posts = [each for each in endpoints if each.options.method == "POST"]
    return (named or posts or list(endpoints))[0]


def value_of(shown: Any) -> Any:
    """What a service shows of itself: a mapping, a namespace, or a function that returns one."""
    value = shown() if callable(shown) else shown
    return dict(value) if isinstance(value, Mapping) else dict(vars(value))


def _methods(subject: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    names = [name for kind in reversed(type(subject).__mro__[:-1]) for name in vars(kind)]
    for name in dict.fromkeys(names):
        if name.startswith("_") or name in HOOKS:
            continue
        function = inspect.getattr_static(subject, name)
        function = getattr(function, "__func__", function)  # of static and class methods
        if inspect.isfunction(function) and (hasattr(function, ENDPOINT_MARK) or function.__annotations__):
            yield name, getattr(subject, name)


def _read(name: str, function: Callable[..., Any]) -> Endpoint:
    options: EndpointOptions = getattr(function, ENDPOINT_MARK, None) or EndpointOptions()
    path = options.path or "/" + name.replace("_", "-")
    parameters = read_parameters(function, path, options.method)
    hint = read_hints(function).get("return", inspect.Signature.empty)
    result, adapter = _result(name, function, hint)
    endpoint = Endpoint(name, options, function, parameters, result, adapter)
    if options.batch and (not endpoint.rows or endpoint.stream):
        raise ConfigError(
            f"{name} can't be batched", hint="batch = True needs a list of rows, and a list returned"
        )
    return endpoint


def _result(name: str, function: Callable[..., Any], hint: Any) -> tuple[Any, TypeAdapter[Any] | None]:
    if get_origin(hint) in _STREAMS and (
        inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    ):
        hint = get_args(hint)[0]
    if hint in (inspect.Signature.empty, None, type(None), Any) or is_class(
        hint, "starlette.responses.Response"
    ):
        return None, None
    try:
        hint = replace_arrays(hint)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    return hint, None if hint is bytes else adapt(f"what {name} returns", hint)


def _shown(shown: Mapping[str, Any]) -> Iterator[Endpoint]:
    """``/performance``, ``/args`` and ``/args/{arg}``, where the service has such."""
    if (performance := shown.get("performance")) is not None:

        def get_performance(filter: str | None = None) -> dict[str, Any]:  # noqa: A002 - the query's word
            """Get the performance metrics."""
            found = value_of(performance)
            return {"performance": found if filter is None else found.get(filter, found)}

        yield _show("performance", get_performance, "/performance", "Performance")
    if (args := shown.get("args")) is not None:

        def get_args() -> dict[str, Any]:
            """Get all arguments used for the run."""
            return {"args": value_of(args)}

        def get_arg(arg: str) -> dict[str, Any]:
            """Get a specific argument's value used for the run."""
            return {arg: value_of(args).get(arg, "")}

        yield _show("args", get_args, "/args", "Arguments")
        yield _show("arg", get_arg, "/args/{arg}", "Arguments")


def _show(name: str, function: Callable[..., Any], path: str, tag: str) -> Endpoint:
    options = EndpointOptions(path=path, method="GET", tags=(tag,))
    parameters = read_parameters(function, path, "GET")
    return Endpoint(name, options, function, parameters, None, None)


def _is_rows(hint: Any) -> bool:
    return array_type(hint) is not None or get_origin(bare(hint)) is list


def _check_paths(endpoints: list[Endpoint]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for each in endpoints:
        key = each.options.method, re.sub(r"{\w+}", "{}", each.path)
        if key in seen:
            raise ConfigError(f"{seen[key]} and {each.name} both answer {' '.join(key)}")
        seen[key] = each.name
