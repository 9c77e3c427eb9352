"""Folders for ``PYTHONPATH`` that give our import surfaces their names in any Python, ours running or not.

A folder has a package of one file, which finds this installation again and hands out the real modules, and a
``dist-info``, for programs that ask for a version.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dragoman
from dragoman.errors import ConfigError

#: The versions whose place a surface takes, by dialect; the newest is the default.
VERSIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "ts": {"0.12": "0.12.0"},
    "kserve": {"0.13": "0.13.1", "0.21": "0.21.0"},
}
#: What a surface is called where packages are installed.
DISTRIBUTIONS: Final = {"ts": "torchserve", "kserve": "kserve"}

_PACKAGE: Final = '''"""Dragoman's {name}, under its own name. Written by ``dragoman compat-path {name}``."""

import importlib.util
import os
import sys

if importlib.util.find_spec("dragoman") is None:
    spec = importlib.util.spec_from_file_location(
        "dragoman", os.path.join({root!r}, "__init__.py"), submodule_search_locations=[{root!r}]
    )
    sys.modules["dragoman"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["dragoman"])

from dragoman.compat.alias import install

install("{name}", "{dialect}")
import {name}  # the real one, which takes this module's place
'''
_METADATA: Final = (
    "Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: Dragoman's {name}\n"
)


def dialect_of(name: str, wanted: str = "") -> str:
    """The dialect of a surface, the newest by default. Raises ConfigError."""
    known = VERSIONS.get(name)
    if known is None:
        raise ConfigError(f"there is no import surface {name!r}", hint=f"known: {', '.join(VERSIONS)}")
    if wanted and wanted not in known:
        raise ConfigError(f"{name} has no dialect {wanted!r}", hint=f"known: {', '.join(known)}")
    return wanted or list(known)[-1]


def write_path(name: str, dialect: str, parent: Path) -> Path:
    """The folder for one surface below ``parent``, written if it isn't there. Raises ConfigError."""
    dialect = dialect_of(name, dialect)
    root = str(Path(dragoman.__file__).parent)
    distribution, version = DISTRIBUTIONS[name], VERSIONS[name][dialect]
    folder = parent / f"{name}-{dialect}"
    info = f"{distribution}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": _PACKAGE.format(name=name, dialect=dialect, root=root),
        f"{info}/METADATA": _METADATA.format(distribution=distribution, version=version, name=name),
        f"{info}/INSTALLER": "dragoman\n",
        f"{info}/top_level.txt": f"{name}\n",
    }
    for file, text in files.items():
        _write(folder / file, text)
    return folder


def _write(path: Path, text: str) -> None:
    """Write a file as a whole, unless it has this text already."""
    try:
        if path.read_text() == text:
            return
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def use(name: str, dialect: str, parent: Path) -> None:
    """Give this process the surface: imports of ``name`` find it, and so do questions for its version."""
    folder = str(write_path(name, dialect, parent))
    if folder not in sys.path:
        sys.path.insert(0, folder)
