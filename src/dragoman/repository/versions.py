"""Which of a model's versions should be loaded. Pure: knows numbers and a policy, no folder and no model."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dragoman.errors import ConfigError

#: A version is a positive number without leading zeros, as in Triton's repositories.
VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
HINT: Final = "versions may be latest, latest:2, all, or specific:1,3"


@dataclass(frozen=True, slots=True)
class Policy:
    """The ``latest`` highest versions, or the ``specific`` ones; all of them where neither is given."""

    latest: int = 0
    specific: tuple[int, ...] = ()


def is_version(name: str) -> bool:
    """Whether a folder of this name holds a version."""
    return VERSION.fullmatch(name) is not None


def parse_policy(policy: str) -> Policy:
    """The policy that an operator wrote; raises ConfigError for anything else."""
    kind, colon, rest = policy.replace(" ", "").partition(":")
    if kind == "all" and not colon:
        return Policy()
    if kind == "latest" and not colon:
        return Policy(latest=1)
    if kind == "latest" and is_version(rest):
        return Policy(latest=int(rest))
    if kind == "specific" and all(is_version(part) for part in rest.split(",")):
        return Policy(specific=tuple(sorted({int(part) for part in rest.split(",")})))
    raise ConfigError(f"{policy!r} is no version policy", hint=HINT)


def wanted(available: Iterable[str | int], policy: str) -> tuple[int, ...]:
    """The versions to load, rising by number; raises ConfigError for a policy or version that is none."""
    numbers = _numbers(available)
    chosen = parse_policy(policy)
    if chosen.specific:
        return tuple(number for number in numbers if number in chosen.specific)
    return numbers[-chosen.latest :]  # from -0 on: all


def missing(available: Iterable[str | int], policy: str) -> tuple[int, ...]:
    """The versions that the policy names and that aren't there, rising by number."""
    numbers = _numbers(available)
    return tuple(number for number in parse_policy(policy).specific if number not in numbers)


def _numbers(available: Iterable[str | int]) -> tuple[int, ...]:
    names = [str(version) for version in available]
    for name in names:
        if not is_version(name):
            raise ConfigError(f"{name!r} is no version", hint="a version is a number from 1 up: 1, 2, 10")
    return tuple(sorted({int(name) for name in names}))
