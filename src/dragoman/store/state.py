"""What the operators want to be served, as plain values. Pure: knows no database, no file and no clock.

This is the desired state: that a version shall be loaded doesn't mean that it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from dragoman.errors import InvalidInput

#: Characters of a name, and of a version.
LONGEST: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a model.

    ``source`` is where it came from, without passwords and signatures; ``digest`` its SHA-256, hexadecimal; ``path``
    where it lies on this machine. ``settings`` are what it can be loaded from again, as JSON has it. ``weight`` is its
    share of the requests that name no version, beside the other weights. ``changed_*`` are written by the store.
    """

    version: str
    source: str = ""
    digest: str = ""
    path: str = ""
    runtime: str = ""
    handler: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    loaded: bool = True
    min_instances: int = 1
    max_instances: int = 1
    weight: int = 0
    changed_by: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model with its versions, in the order they came.

    ``default`` answers requests that name no version, unless weights split them; where it is empty, the newest does.
    ``shadow``, where there is one, gets a copy of each and its answers go to nobody. ``revision`` counts the changes
    that the store has taken; 0 is a model that it hasn't seen.
    """

    name: str
    versions: tuple[Version, ...]
    default: str
    shadow: str = ""
    revision: int = 0

    def version(self, version: str) -> Version | None:
        """The version of that number."""
        return next((each for each in self.versions if each.version == version), None)


def check(model: Model) -> None:
    """Raises InvalidInput for a model that contradicts itself."""
    numbers = [version.version for version in model.versions]
    if not numbers or not all(0 < len(text) <= LONGEST for text in (model.name, *numbers)):
        raise InvalidInput(f"a model needs a name and a version, of at most {LONGEST} characters")
    if len(set(numbers)) < len(numbers):
        raise InvalidInput(f"model {model.name!r} has a version twice")
    for role, number in (("default", model.default), ("shadow", model.shadow)):
        if number and number not in numbers:
            raise InvalidInput(
                f"the {role} of model {model.name!r} must be one of its versions, got {number!r}"
            )
    _check_text(model.name)
    for version in model.versions:
        _check_version(version)


def _check_version(version: Version) -> None:
    for text in (
        version.version,
        version.source,
        version.digest,
        version.path,
        version.runtime,
        version.handler,
    ):
        _check_text(text)
    if not 0 <= version.min_instances <= version.max_instances:
        limits = f"{version.min_instances} to {version.max_instances}"
        raise InvalidInput(f"instances must be from 0 up, the least not above the most, got {limits}")
    if version.weight < 0:
        raise InvalidInput(f"a weight must be at least 0, got {version.weight}")
    try:
        same = json.loads(json.dumps(version.settings, allow_nan=False)) == version.settings
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise InvalidInput(f"the settings of version {version.version!r} can't be written as JSON")


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"a name or path holds a character that can't be kept: {text[:100]!r}")
