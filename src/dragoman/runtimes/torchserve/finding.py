"""Finds a model's handler and makes it callable. Knows modules, classes and envelopes, nothing of requests."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from dragoman.compat.ts.context import Context
from dragoman.compat.ts.utils.util import list_classes_from_module
from dragoman.errors import ConfigError
from dragoman.runtimes.importing import where

#: ``handle(rows, context)``: a list with one item per row, or a coroutine of it.
Handle = Callable[[Any, Context], Any]

_STOCK = "ts.torch_handler"
_ENVELOPES = "ts.torch_handler.request_envelope"


def find_handle(name: str, envelope: str, context: Context, run: Callable[[Any], Any]) -> tuple[Handle, Any]:
    """The handler called ``name``, initialized, and the object it belongs to (``None`` for a function).

    ``name`` is ``module``, ``module.py`` or ``module:function`` of the model's directory, or a stock handler's
    (``image_classifier``). A module with the function (``handle`` if none is named) is a handler by itself and
    is called once without data; else its one class with ``initialize`` and ``handle`` is. ``run`` finishes what
    a coroutine function returns. ConfigError for whatever fails, with the place.
    """
    module_name, _, function = name.partition(":")
    module_name = Path(module_name).name.removesuffix(".py")
    if not module_name:
        raise ConfigError(
            "the model names no handler", hint="set the handler option, or name it in the archive"
        )
    module = _find_module(module_name, Path(context.system_properties["model_dir"]))
    entry = getattr(module, function or "handle", None)
    if callable(entry) and not inspect.isclass(entry):
        _user(f"{name} (called once without data)", lambda: run(entry(None, context)))
        return _dress(entry, envelope), None
    if function:
        raise ConfigError(f"{module_name}.py has no function {function!r}")
    found = _handler_class(module, module_name)
    handler = _user(f"{found.__name__}()", found)
    if callable(getattr(handler, "initialize", None)):
        _user(f"{found.__name__}.initialize", lambda: run(handler.initialize(context)))
    return _dress(handler.handle, envelope), handler


def prefer(directory: Path) -> None:
    """Put ``directory`` first on the path, and forget models' modules of the names it has: all load anew."""
    place = str(directory)
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    names = {path.stem for path in directory.glob("*.py")}
    names |= {path.name for path in directory.iterdir() if path.is_dir() and path.name.isidentifier()}
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and _is_model_code(Path(file).resolve()):
            for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
                del sys.modules[each]


def _is_model_code(file: Path) -> bool:
    """Not Python's own and not an installed package: a model that brings a ``queue.py`` must not replace that."""
    return not any(
        part in ("site-packages", "dist-packages") for part in file.parts
    ) and not file.is_relative_to(Path(sys.base_prefix) / "lib")


def _find_module(name: str, directory: Path) -> ModuleType:
    """The module in the model's directory, else the stock handler, else whatever is installed."""
    if (directory / f"{name}.py").is_file() or (directory / name / "__init__.py").is_file():
        known = sys.modules.get(name)
        if known is not None and directory not in Path(known.__file__ or "").resolve().parents:
            del sys.modules[name]  # an installed package of the handler's name gives way
        return _import(name)
    for full in (f"{_STOCK}.{name}", name):
        if _is_there(full):
            return _import(full)
    raise ConfigError(f"there is no handler {name!r}", hint=f"the archive should hold {name}.py")


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even its package
        return False
    except ImportError as error:  # a stock handler that isn't offered says why
        raise ConfigError(str(error)) from error


def _import(name: str) -> ModuleType:
    module: ModuleType = _user(f"importing {name}", lambda: importlib.import_module(name))
    return module


def _handler_class(module: ModuleType, name: str) -> type[Any]:
    classes = list_classes_from_module(module)
    able = [each for each in classes if callable(getattr(each, "handle", None))]
    if len(able) == 1:
        return able[0]
    names = ", ".join(each.__name__ for each in able or classes) or "no class"
    raise ConfigError(
        f"{name}.py should have a function handle or one class with a handle method; it has: {names}",
        hint="write the handler as module:function",
    )


def _dress(handle: Handle, envelope: str) -> Handle:
    """``handle`` behind the envelope of this name: the class in a module of the same name, stock or the model's."""
    if not envelope:
        return handle
    for full in (f"{_ENVELOPES}.{envelope}", envelope):
        if _is_there(full):
            module = _import(full)
            classes = [
                each for each in list_classes_from_module(module) if callable(getattr(each, "handle", None))
            ]
            if len(classes) == 1:
                dressed: Handle = classes[0](handle).handle
                return dressed
    raise ConfigError(f"there is no envelope {envelope!r}", hint="it may be: body, json, kserve, kservev2")


def _user(what: str, call: Callable[[], Any]) -> Any:
    """Run the model's own code while it loads."""
    try:
        return call()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} failed at {where(error)}: {type(error).__name__}: {error}") from error
