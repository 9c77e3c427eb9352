"""A runtime's own settings and its file, checked: a typing error is found at load. Knows no library.

Messages name files without their directories: clients may read why a model failed in the repository's index.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact

#: What every runtime understands: see ``dragoman.runtimes.signature``.
COMMON: Final[Mapping[str, type]] = {"inputs": list, "outputs": list, "batched": bool, "max_batch": int}


def check_options(artifact: Artifact, known: Mapping[str, type]) -> None:
    """Raise ConfigError when ``artifact.options`` has a key or a kind of value that isn't taken."""
    allowed = {**COMMON, **known}
    for key, value in artifact.options.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"unknown option {key!r}", hint=f"{hint}known: {', '.join(sorted(allowed))}")
        kind = allowed[key]
        accepted = (list, tuple) if kind is list else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"option {key!r} must be {kind.__name__}, got {value!r}")


def choose(artifact: Artifact, key: str, choices: Mapping[str, Any], default: str) -> Any:
    """What the option ``key`` stands for among ``choices``; raises ConfigError naming them all."""
    name = artifact.options.get(key, default)
    if name not in choices:
        raise ConfigError(f"option {key!r} is {name!r}", hint=f"it may be: {', '.join(choices)}")
    return choices[name]


def find_file(artifact: Artifact, *suffixes: str) -> Path:
    """The model's file: the artifact's path, or in a directory ``model.*`` or the only such file."""
    path = artifact.path
    if path is None:
        raise ConfigError("the model has no file")
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
        files = [file for file in files if file.stem == "model"] or files
        if len(files) != 1:
            raise ConfigError(f"{len(files)} files of {', '.join(suffixes)} in {path.name}, expected one")
        path = files[0]
    if not path.is_file():
        raise ConfigError(f"there is no file {path.name}")
    return path


def cannot_load(library: str, path: Path, error: Exception) -> ConfigError:
    """What to raise when ``library`` refuses the file at ``path``: the first line of its complaint."""
    complaint = str(error).replace(str(path), path.name).partition("\n")[0]
    return ConfigError(f"{library} can't load {path.name}: {type(error).__name__}: {complaint}")
