"""What a method takes, read from its hints: where each parameter comes from in an HTTP request, and how it is checked.

Rules: a name in the path's braces comes from the path; with GET and DELETE everything else from the query, otherwise
from the JSON body, by name; a sole pydantic model is the body itself. ``UploadFile`` and ``bytes`` are files of a form.
``Annotated[..., fastapi.Query()]``, ``Header()``, ``Path()`` and ``Body(embed=...)`` are understood where somebody uses
them. Knows hints, no request.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dragoman.errors import ConfigError
from dragoman.runtimes.service.arrays import replace_arrays

Source = Literal["path", "query", "header", "body", "whole", "file", "request"]

EMPTY: Final = inspect.Parameter.empty
_IN_PATH: Final = re.compile(r"{([A-Za-z_]\w*)}")
_NO_BODY: Final = frozenset({"GET", "DELETE"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``key`` is its name on the wire; ``hint`` has arrays replaced; ``default`` may be ``EMPTY``.

    ``many`` says that it takes every value of its key in a query. Of a ``file``, ``upload`` is the class that the
    method wants (``None``: its bytes).
    """

    name: str
    key: str
    source: Source
    hint: Any
    default: Any
    adapter: TypeAdapter[Any]
    many: bool = False
    upload: type[Any] | None = None

    @property
    def required(self) -> bool:
        return self.default is EMPTY


def read_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The hints of a method or function. Raises ConfigError for one whose names can't be found."""
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"the hints of {function.__qualname__} can't be read: {error}",
            hint="what hints name has to be known where the module is",
        ) from error


def read_parameters(function: Callable[..., Any], path: str, method: str) -> tuple[Parameter, ...]:
    """The parameters of a bound method or function. Raises ConfigError for what no request could give."""
    hints = read_hints(function)
    in_path = _IN_PATH.findall(path)
    found = []
    for each in inspect.signature(function).parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
            raise ConfigError(f"{function.__qualname__} can't be asked by name: {each}")
        hint = hints.get(each.name, Any)
        found.append(_read(function.__qualname__, each, hint, in_path, method))
    if missing := set(in_path) - {each.name for each in found}:
        raise ConfigError(f"{function.__qualname__} has no parameter {sorted(missing)[0]!r} of its path")
    return _settle_body(tuple(found))


def adapt(what: str, hint: Any) -> TypeAdapter[Any]:
    """What checks and describes a type. Raises ConfigError for one that no JSON becomes."""
    try:
        return TypeAdapter(hint)
    except (PydanticUserError, TypeError) as error:
        raise ConfigError(f"{what} has a type that can't be checked: {str(error).splitlines()[0]}") from error


def is_class(hint: Any, name: str) -> bool:
    """Whether a hint is a class of this full name, or one made from it; nothing is imported to find out."""
    return isinstance(hint, type) and any(
        f"{base.__module__}.{base.__qualname__}" == name for base in hint.__mro__
    )


def without_none(hint: Any) -> Any:
    """``X`` of ``X | None``; any other hint as it is."""
    others = [each for each in get_args(hint) if each is not type(None)]
    optional = type(None) in get_args(hint) and len(others) == 1
    return others[0] if optional else hint


def bare(hint: Any) -> Any:
    """``X`` of ``Annotated[X, ...]`` and of ``X | None``."""
    hint = without_none(hint)
    return bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _read(where: str, each: inspect.Parameter, hint: Any, in_path: list[str], method: str) -> Parameter:
    default, marks = each.default, list(get_args(hint)[1:]) if get_origin(hint) is Annotated else []
    if isinstance(default, FieldInfo):  # text: str = Query("", min_length=1)
        hint, marks, default = (
            Annotated[hint, default],
            [*marks, default],
            default.get_default(call_default_factory=True),
        )
        default = EMPTY if default is PydanticUndefined else default
    try:
        hint = replace_arrays(hint)
    except ValueError as error:
        raise ConfigError(f"{where}, {each.name}: {error}") from error
    core = bare(hint)
    source, key = _source(each.name, core, marks, in_path, method)
    upload = core if is_class(core, "starlette.datastructures.UploadFile") else None
    checked = Any if source in ("request", "file") else hint
    adapter = adapt(f"{where}, {each.name},", checked)
    many = get_origin(core) in (list, set, tuple) and source in ("query", "header")
    return Parameter(each.name, key, source, hint, default, adapter, many, upload)


def _source(name: str, core: Any, marks: list[Any], in_path: list[str], method: str) -> tuple[Source, str]:
    key = next((mark.alias for mark in marks if getattr(mark, "alias", None)), name)
    said = next((str(getattr(mark.in_, "value", mark.in_)) for mark in marks if hasattr(mark, "in_")), "")
    if name in in_path:
        return "path", name
    if is_class(core, "starlette.requests.Request"):
        return "request", name
    if core is bytes or is_class(core, "starlette.datastructures.UploadFile"):
        return "file", key
    if said == "header":
        return "header", (key if key != name else name.replace("_", "-")).lower()
    if said == "query" or (not said and method in _NO_BODY):
        return "query", key
    return "body", key


def _settle_body(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """A sole model is the body itself, unless ``Body(embed=True)`` says otherwise; beside files it is a field."""
    body = [each for each in parameters if each.source == "body"]
    if len(body) != 1 or any(each.source == "file" for each in parameters):
        return parameters
    (only,) = body
    core = bare(only.hint)
    marks = get_args(only.hint)[1:] if get_origin(only.hint) is Annotated else ()
    embed = next((mark.embed for mark in marks if getattr(mark, "embed", None) is not None), None)
    model = isinstance(core, type) and issubclass(core, BaseModel)
    if embed or (embed is None and not model):
        return parameters
    return tuple(replace(each, source="whole") if each is only else each for each in parameters)
