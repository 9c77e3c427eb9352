"""Triton's model repository extension: what requests to it say, and its words for what comes of them.

The same for every transport. Pure but for ``load`` and ``unload``, which ask the control.
"""

import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from dragoman.engine.control import Controls
from dragoman.engine.lifecycle import Record, State
from dragoman.errors import (
    DragomanError,
    Forbidden,
    InvalidInput,
    LoadFailed,
    NotFound,
    NoVersion,
    Unreadable,
    Unsupported,
    VersionsFailed,
)
from dragoman.protocols.kserve_v2.metadata import IndexEntry
from dragoman.repository.overrides import Overrides
from dragoman.tensors import Buffer, parse_json

CONFIG: Final = "config"
FILE: Final = "file:"
DEPENDENTS: Final = "unload_dependents"

#: Takes a parameter's name, its value as it came, and what it is to be: ``str`` or ``bytes``.
Read = Callable[[str, Any, type], Any]

#: Triton's names of states.
_STATES: Final = {
    State.NEW: "",
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.DRAINING: "UNLOADING",
    State.UNLOADED: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
}


def describe(
    records: Iterable[Record], only_ready: bool, answers: Callable[[Record], bool]
) -> list[IndexEntry]:
    """The lines of an index. ``answers`` says of a loaded version whether it does at this moment."""
    entries = [_describe(record, record.state is State.READY and answers(record)) for record in records]
    return [entry for entry in entries if entry.state == "READY" or not only_ready]


def _describe(record: Record, answers: bool) -> IndexEntry:
    state, reason = _STATES[record.state] if record.version else "", record.reason
    if record.state is State.UNLOADED and record.version:
        reason = "unloaded"
    elif record.state is State.READY and not answers:
        state, reason = "UNAVAILABLE", "its workers are being replaced"
    return IndexEntry(record.name, record.version, state, reason)


def decode_load(body: Buffer, max_depth: int = 100) -> Overrides:
    """What a JSON request to load wants otherwise than the repository has it. Raises InvalidInput.

    Files are in base64, as JSON knows no bytes.
    """
    return read_load(_parameters(body, max_depth), _read_json)


def read_load(parameters: Mapping[str, Any], read: Read) -> Overrides:
    """The same of the parameters by name. ``read`` makes a text or bytes of each value. Raises InvalidInput."""
    config, files = "", {}
    for name, value in parameters.items():
        if name == CONFIG:
            config = read(name, value, str)
        elif name.startswith(FILE):
            files[name.removeprefix(FILE)] = read(name, value, bytes)
        else:
            raise unknown_parameter(name)
    return Overrides(config, files)


def decode_unload(body: Buffer, max_depth: int = 100) -> bool:
    """Whether models that need this one are to be unloaded, too. Raises InvalidInput."""
    return read_unload(_parameters(body, max_depth))


def read_unload(parameters: Mapping[str, Any]) -> bool:
    """The same of the parameters by name. Raises InvalidInput."""
    wanted = parameters.get(DEPENDENTS, False)
    if type(wanted) is not bool:
        raise wrong_type(f"'{DEPENDENTS}' parameter", "bool_param")
    return wanted


def wrong_type(what: str, expected: str) -> InvalidInput:
    """For a parameter that isn't what it should be."""
    return InvalidInput(f"invalid value type for {what}, expected {expected}.")


def unknown_parameter(name: str) -> InvalidInput:
    """For a parameter of a load that nobody knows."""
    return InvalidInput(f"unrecognized load parameter '{name}'.")


def named_repository() -> Unsupported:
    """For whoever names one of several repositories: there is one."""
    return Unsupported("'repository_name' specification is not supported")


async def load(control: Controls, name: str, overrides: Overrides, who: str) -> None:
    """Load a model. Raises DragomanError, in Triton's words."""
    try:
        await control.load(name, overrides, who)
    except (Forbidden, NotFound, LoadFailed) as error:
        raise _in_its_words(name, error) from error


async def unload(control: Controls, name: str, dependents: bool, who: str) -> None:
    """Unload a model. Raises DragomanError, in Triton's words."""
    try:
        await control.unload(name, who, dependents=dependents)
    except Forbidden as error:
        raise _in_its_words(name, error) from error


def _in_its_words(name: str, error: DragomanError) -> DragomanError:
    failed = f"load failed for model '{name}': "
    match error:
        case Forbidden():
            return Forbidden("explicit model load / unload is not allowed if polling is enabled")
        case NotFound():
            return NotFound(f"failed to load '{name}', failed to poll from model repository")
        case Unreadable():
            text = f"failed to load '{name}', failed to poll from model repository: {error.message}"
            return Unreadable(text)
        case NoVersion():
            text = "at least one version must be available under the version policy of model"
            return NoVersion(f"{failed}{text} '{name}': {error.message}\n")
        case VersionsFailed(reasons=reasons):
            states = (f"version {v} is at UNAVAILABLE state: {why};" for v, why in reasons.items())
            return LoadFailed(f"{failed}{' '.join(states)}\n")
    return error


def _parameters(body: Buffer, max_depth: int) -> Mapping[str, Any]:
    if not len(body):
        return {}
    document = parse_json(body, max_depth)
    parameters = document.get("parameters") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(parameters, dict | None):
        raise InvalidInput("attempt to access JSON non-object as object")
    return parameters or {}


def _read_json(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, str):
        raise InvalidInput("attempt to access JSON non-string as string")
    return value if kind is str else _decode_file(name, value)


def _decode_file(name: str, value: str) -> bytes:
    try:
        return binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidInput(f"parameter '{name[:100]}' must be a file in base64") from None
