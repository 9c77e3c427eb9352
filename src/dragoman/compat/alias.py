"""Gives packages of ours a second name, so that ``import ts`` in a handler file finds ``dragoman.compat.ts``.

There is one module under both names: a class is the same class whichever name it was imported by.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

#: A name that user code imports, and the package behind it.
SURFACES: Final[Mapping[str, str]] = {
    "c_python_backend_utils": "dragoman.compat.triton_python_backend_utils",
    "kserve": "dragoman.compat.kserve",
    "kserve_storage": "dragoman.compat.kserve.storage",
    "triton_python_backend_utils": "dragoman.compat.triton_python_backend_utils",
    "ts": "dragoman.compat.ts",
}


def install(name: str, dialect: str = "") -> None:
    """Let ``import name`` find our package, before any other of that name. Does nothing the second time.

    A package that has something to do then has a function ``aliased``, which is told as which version it shall speak.
    """
    real = importlib.import_module(SURFACES[name])
    if callable(aliased := getattr(real, "aliased", None)):
        aliased(dialect)
    missing: Mapping[str, str] = getattr(real, "NOT_HERE", {})
    elsewhere: Mapping[str, str] = getattr(real, "ELSEWHERE", {})
    if not any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, SURFACES[name], missing, elsewhere))
    if sys.modules.get(name) is not real:
        for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
            del sys.modules[module]


class _Finder(MetaPathFinder):
    """Answers for one name and everything below it. ``missing`` says why a module is not offered, ``elsewhere`` has
    those that are not inside of the package.
    """

    def __init__(
        self, name: str, real: str, missing: Mapping[str, str], elsewhere: Mapping[str, str]
    ) -> None:
        self.name, self._real, self._missing, self._elsewhere = name, real, missing, elsewhere

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name and not fullname.startswith(f"{self.name}."):
            return None
        for name, reason in self._missing.items():
            if fullname == name or fullname.startswith(f"{name}."):
                raise ImportError(f"{name} is not here: {reason}", name=fullname)
        real = self._elsewhere.get(fullname, self._real + fullname[len(self.name) :])
        found = importlib.util.find_spec(real)
        if found is None:
            return None
        package = found.submodule_search_locations is not None
        return ModuleSpec(fullname, _Loader(real), origin=found.origin, is_package=package)


class _Loader(Loader):
    """Hands out the module that is there already, and leaves it as it was."""

    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just put the second name there
