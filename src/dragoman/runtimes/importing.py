"""Finds a user's class in a module or a ``.py`` file, and says where it hurts when that fails.

Knows nothing of inputs and outputs.
"""

import importlib
import importlib.util
import inspect
import itertools
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact
from dragoman.runtimes.calling import required

_serial = itertools.count(1)
_alone = threading.RLock()  # models load side by side, but ``sys.path`` and ``sys.modules`` are one


class _Source(SourceFileLoader):
    """Compiles the file as it is. Compiled files are told apart by the second and their size: a model that is changed
    and loaded again at once would be the old one. They also don't belong into a repository."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("nothing that was compiled before is wanted")


def find_class(artifact: Artifact, method: str) -> type[Any]:
    """The class that ``artifact.entry`` names, or the file's only class with ``method``, or its ``Model``.

    ``entry`` is ``module:Class``, or just ``Class`` beside a file. A directory is searched for the entry's
    module, else for ``model.py``, else for its only ``.py`` file.
    """
    module, class_name = find_module(artifact)
    return pick_class(module, class_name, method)


def find_module(artifact: Artifact) -> tuple[ModuleType, str]:
    """The imported module of ``artifact.entry``, and the class that it names; "" where it names none."""
    module_name, _, class_name = artifact.entry.rpartition(":")
    with _alone:
        return _find_module(artifact, module_name), class_name


def pick_class(module: ModuleType, name: str, method: str) -> type[Any]:
    """The class called ``name``; without one the only class with ``method``, or ``Model``. Raises ConfigError."""
    return _named(module, name) if name else _only(module, method)


def folder_of(artifact: Artifact) -> Path | None:
    """The folder that a model's file lies in, or that is the model; ``None`` where it has no place."""
    path = artifact.path
    return path.parent if path is not None and path.is_file() else path


def call_user(
    what: str,
    function: Callable[..., Any],
    supply: Mapping[str, Any],
    finish: Callable[[Any], Any] | None = None,
) -> Any:
    """Call the user's constructor or hook with those of ``supply`` that it names; ``finish`` gets what it returns.

    What it raises becomes ConfigError with a place.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if unknown := sorted(required(parameters) - supply.keys()):
        raise ConfigError(f"{what} asks for {', '.join(unknown)}", hint=f"it may take {', '.join(supply)}")
    named = {parameter.name for parameter in parameters}
    try:
        result = function(**{name: value for name, value in supply.items() if name in named})
        return result if finish is None else finish(result)
    except ConfigError:
        raise
    except Exception as error:
        message = f"{what} failed at {where(error)}: {type(error).__name__}: {error}"
        raise ConfigError(message) from error


def _find_module(artifact: Artifact, name: str) -> ModuleType:
    file = _file(artifact.path, name)
    if file is not None:
        return import_file(file)
    if not name:
        raise ConfigError(f"entry {artifact.entry!r} names no class", hint="write it as module:Class")
    if artifact.path is not None:
        _prefer(artifact.path)
    module: ModuleType = _explain(name, lambda: importlib.import_module(name))
    return module


def import_file(path: Path) -> ModuleType:
    """The module in ``path``, under a name of its own, so that two models may both have a ``model.py``.

    The file's directory comes first on ``sys.path``: modules that lie beside it can be imported.
    """
    name = f"dragoman_model_{next(_serial)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, str(path)))
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"there is no Python file {path.name}")
    _prefer(path.parent)
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        _explain(path.name, lambda: loader.exec_module(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def where(error: BaseException) -> str:
    """``file:line`` of the innermost frame, or of the line that isn't Python: where a person should look.

    Only the file's name: clients may read it in the repository's index. The log's traceback has the path.
    """
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '').name}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _file(path: Path | None, module_name: str) -> Path | None:
    """The ``.py`` file to load, or ``None`` when the module must be imported by its name."""
    if path is None or not path.is_dir():
        return path
    if module_name:
        file = path / f"{module_name.removesuffix('.py')}.py"
        return file if file.is_file() else None
    if (path / "model.py").is_file():
        return path / "model.py"
    files = sorted(path.glob("*.py"))
    if len(files) != 1:
        raise ConfigError(
            f"{len(files)} Python files in {path.name}, and none is model.py",
            hint="set entry = 'module:Class'",
        )
    return files[0]


def _explain(what: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:
        message = f"importing {what} failed at {where(error)}: {type(error).__name__}: {error}"
        raise ConfigError(message) from error


def _named(module: ModuleType, name: str) -> type[Any]:
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = ", ".join(sorted(_classes(module))) or "none"
        raise ConfigError(f"{_file_name(module)} has no class {name!r}", hint=f"its classes: {classes}")
    return found


def _only(module: ModuleType, method: str) -> type[Any]:
    classes = {name: each for name, each in _classes(module).items() if callable(getattr(each, method, None))}
    if "Model" in classes:
        return classes["Model"]
    if len(classes) != 1:
        names = ", ".join(sorted(classes)) or "none"
        raise ConfigError(
            f"{_file_name(module)} should have one class with a {method} method; it has: {names}",
            hint="set entry = 'module:Class', or call the class Model",
        )
    return next(iter(classes.values()))


def _file_name(module: ModuleType) -> str:
    return Path(module.__file__ or module.__name__).name


def _classes(module: ModuleType) -> dict[str, type[Any]]:
    """The classes written in ``module``, not those it imports."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }


def _prefer(directory: Path) -> None:
    """Put ``directory`` first on the path; forget what other directories offered under its modules' names."""
    place = str(directory.resolve())
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    for sibling in {path.stem for path in directory.glob("*.py")}:
        known = getattr(sys.modules.get(sibling), "__file__", None)
        if known is not None and Path(known).resolve().parent != directory.resolve():
            del sys.modules[sibling]
