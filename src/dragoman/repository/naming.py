"""``NAME=TARGET``: a model that is called otherwise than its file, folder or class. Reads nothing."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dragoman.errors import ConfigError
from dragoman.repository.spec import ModelSource, Problem, check_name

_NAMED: Final = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)


def split_name(target: str) -> tuple[str, str]:
    """The name that the operator gives, empty where there is none, and where the model is."""
    found = _NAMED.fullmatch(target)
    if found is None or os.path.exists(target):  # a file may be called so
        return "", target
    return found[1], found[2]


def call(found: Sequence[ModelSource | Problem], name: str) -> list[ModelSource | Problem]:
    """What was found, under another name. Raises ConfigError where that would be the name of several models."""
    check_name(name)
    names = sorted({entry.name for entry in found})
    if len(names) > 1:
        raise ConfigError(
            f"{name!r} can't be the name of several models: {', '.join(names)}",
            hint="name one file or folder, or leave the name out: they have their own",
        )
    return [replace(entry, name=name) for entry in found]
