"""How a class or some functions say that they are a service: marks that are read when the model is loaded.

Knows no wire and no library; nothing of a class or function is changed by being marked.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, overload

MARK: Final = "__dragoman_service__"
ENDPOINT_MARK: Final = "__dragoman_endpoint__"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

C = TypeVar("C", bound=type[Any])
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """What a service says of itself as a whole. Empty texts are filled from its name and docstring.

    ``path`` is the prefix of its endpoints' paths; ``envelope`` says whether answers come in one, ``docs`` whether
    there are an OpenAPI document and the pages over it.
    """

    title: str = ""
    description: str = ""
    version: str = "0.1"
    path: str = "/"
    envelope: bool = True
    docs: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """What is said of one method. Without a path it is its name, with dashes for underscores.

    ``batch`` says that its lists are rows: requests that wait together become one call, whose answer is cut apart.
    """

    path: str = ""
    method: str = "POST"
    status: int = 200
    tags: Sequence[str] = ()
    summary: str = ""
    example: Any = None
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Functions:
    """A service made of functions; called, it is its only function.

    ``performance`` and ``args`` are mappings, or functions that return them once ``startup`` has ended.
    """

    functions: tuple[Callable[..., Any], ...]
    options: ServiceOptions
    hooks: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        (function,) = self.functions
        return function(*arguments, **named)


@overload
def service(target: C, /) -> C: ...
@overload
def service(*functions: Callable[..., Any]) -> Functions: ...
@overload
def service(
    *,
    title: str = "",
    description: str = "",
    version: str = "0.1",
    path: str = "/",
    envelope: bool = True,
    docs: bool = True,
) -> Callable[[C], C]: ...
@overload
def service(
    *functions: Callable[..., Any],
    title: str = "",
    description: str = "",
    version: str = "0.1",
    path: str = "/",
    envelope: bool = True,
    docs: bool = True,
    startup: Callable[[], Any] | None = None,
    shutdown: Callable[[], Any] | None = None,
    performance: Any = None,
    args: Any = None,
    run_id: Any = None,
) -> Functions: ...
def service(*targets: Any, **said: Any) -> Any:
    """Mark a class as a service, alone or with options, or make one of functions: ``service(predict, title=...)``.

    A class' ``startup`` and ``shutdown`` methods are its hooks, and what it has as ``performance``, ``args`` and
    ``run_id`` is shown. For functions these are keywords. Raises TypeError and ValueError for what makes no sense.
    """
    hooks = {name: said.pop(name) for name in HOOKS if said.get(name) is not None}
    options = _options(ServiceOptions, {key: value for key, value in said.items() if key not in HOOKS})
    _check_path(options.path)
    if not targets:
        if hooks:
            raise TypeError(f"a class has {', '.join(hooks)} itself; give them with functions only")
        return lambda target: _mark_class(target, options)
    if inspect.isclass(targets[0]):
        if len(targets) > 1 or hooks:
            raise TypeError("a service is one class, or some functions")
        return _mark_class(targets[0], options)
    for target in targets:
        if not callable(target):
            raise TypeError(f"a service is made of functions, got {target!r}")
    return Functions(targets, options, hooks)


#: What a service may have beside its endpoints, and what is not an endpoint although its name is public.
HOOKS: Final = ("startup", "shutdown", "performance", "args", "run_id")


@overload
def endpoint(function: F, /) -> F: ...
@overload
def endpoint(
    path: str = "",
    /,
    *,
    method: str = "POST",
    status: int = 200,
    tags: Sequence[str] = (),
    summary: str = "",
    example: Any = None,
    batch: bool = False,
) -> Callable[[F], F]: ...
def endpoint(target: Any = "", /, **said: Any) -> Any:
    """Say more of a method or function: its path (``/items/{item}``), method, status, tags and example."""
    if callable(target):
        return target
    options = _options(EndpointOptions, {"path": target, **said})
    if options.path:
        _check_path(options.path)
    if options.method not in METHODS:
        raise ValueError(f"an endpoint's method is one of {', '.join(METHODS)}, got {options.method!r}")
    if not 200 <= options.status <= 299:
        raise ValueError(f"an endpoint's status says that it went well: 200 to 299, got {options.status}")

    def mark(function: F) -> F:
        setattr(function, ENDPOINT_MARK, options)
        return function

    return mark


def _options(kind: type[Any], said: dict[str, Any]) -> Any:
    known = kind.__dataclass_fields__
    if unknown := [name for name in said if name not in known]:
        raise TypeError(f"{unknown[0]!r} is unknown here; known are {', '.join(known)}")
    return kind(**said)


def _mark_class(target: Any, options: ServiceOptions) -> Any:
    if not inspect.isclass(target):
        raise TypeError(
            f"with options, service decorates a class; give functions as arguments, got {target!r}"
        )
    setattr(target, MARK, options)
    return target


def _check_path(path: str) -> None:
    if not path.startswith("/") or "?" in path or "#" in path or "//" in path:
        raise ValueError(f"a path starts with a slash and has no query, got {path!r}")
