"""Finds the service in a user's module: a marked class, or functions that were made one. Knows no request."""

from types import ModuleType
from typing import Any

from dragoman.errors import ConfigError
from dragoman.services import MARK, Functions, ServiceOptions


def find_service(module: ModuleType, name: str) -> Any:
    """The marked class or ``Functions`` called ``name``, or the module's only one; ``None`` where it has none.

    Raises ConfigError where it has several.
    """
    if name:
        found = getattr(module, name, None)
        return found if _is_service(found, module.__name__, inherited=True) else None
    found = {key: each for key, each in vars(module).items() if _is_service(each, module.__name__)}
    unique = {id(each): (key, each) for key, each in found.items()}
    if len(unique) > 1:
        names = ", ".join(sorted(key for key, _ in unique.values()))
        raise ConfigError(f"the file has several services: {names}", hint="serve one: app.py:NAME")
    return next((each for _, each in unique.values()), None)


def options_of(service: Any) -> ServiceOptions:
    """What a service says of itself."""
    options: ServiceOptions = service.options if isinstance(service, Functions) else getattr(service, MARK)
    return options


def _is_service(each: Any, module: str, *, inherited: bool = False) -> bool:
    """Whether it is one, and written in this module; ``inherited``: or comes from a base that is one."""
    if isinstance(each, Functions):
        return True
    if not isinstance(each, type) or not hasattr(each, MARK):
        return False
    return inherited or (MARK in vars(each) and each.__module__ == module)
