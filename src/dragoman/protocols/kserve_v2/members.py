"""The smaller pieces of a request's JSON: parameters, members of the right kind, errors when they are not.

Knows kinds of JSON values, not what they are for.
"""

from typing import Any, Final

from dragoman.errors import InvalidInput
from dragoman.types import Parameters

#: The most inputs, and the most outputs, one request may name.
MAX_TENSORS: Final = 4096
UNSIGNED: Final = "attempt to access JSON non-unsigned-integer as unsigned-integer"
_MEMBERS: Final = ("name", "shape", "datatype")


def decode_parameters(parameters: Any) -> tuple[Parameters, bool]:
    """A request's parameters without ``binary_data_output``, and what that one said. Null is not set."""
    if type(parameters) is not dict:
        raise InvalidInput("failed to get request params.: attempt to access JSON non-object as object")
    taken: Parameters = {}
    binary = False
    for key, value in parameters.items():
        if value is None:
            continue
        if check := _KNOWN.get(key):
            check(key, value)
            if key == "binary_data_output":
                binary = value
                continue
        elif key.startswith("triton_"):
            raise InvalidInput(
                "parameter keys starting with 'triton_' are reserved for Triton usage and should not be"
                " specified."
            )
        elif type(value) not in _SCALARS:
            raise _bad_parameter(key)
        taken[key] = value
    return taken, binary


def _bad_parameter(key: str) -> InvalidInput:
    return InvalidInput(
        f"parameter '{key}' has invalid type. It should be either 'int', 'bool', or 'string'."
    )


def check_unsigned(key: str, value: Any) -> None:
    """Raise unless ``value`` is an integer of at least 0."""
    if type(value) is not int or value < 0:
        raise InvalidInput(f"Unable to parse '{key}': {UNSIGNED}")


def check_boolean(key: str, value: Any) -> None:
    """Raise unless ``value`` is true or false."""
    if type(value) is not bool:
        raise InvalidInput(f"Unable to parse '{key}': attempt to access JSON non-boolean as boolean")


def _check_sequence_id(key: str, value: Any) -> None:
    if type(value) is not str and (type(value) is not int or value < 0):
        raise InvalidInput(f"Unable to parse '{key}': attempt to access JSON non-string as string")


_SCALARS: Final = frozenset({str, int, bool, float})
_KNOWN: Final = {
    "priority": check_unsigned,
    "timeout": check_unsigned,
    "sequence_id": _check_sequence_id,
    "sequence_start": check_boolean,
    "sequence_end": check_boolean,
    "binary_data_output": check_boolean,
}


def decode_tensor_parameters(parameters: Parameters) -> Parameters:
    """The parameters of one input, without those that are not set or that say where its data lies."""
    kept = {
        key: value for key, value in parameters.items() if key != "binary_data_size" and value is not None
    }
    for key, value in kept.items():
        if type(value) not in _SCALARS:
            raise _bad_parameter(key)
    return kept


def decode_object(item: Parameters) -> Parameters:
    """The ``parameters`` of an input or output, as sent."""
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise InvalidInput("Unable to parse 'parameters': attempt to access JSON non-object as object")
    return parameters


def check_list(items: Any, key: str) -> None:
    """Raise unless ``items`` can be the list of inputs or outputs."""
    if type(items) is not list:
        raise InvalidInput(f"Unable to parse '{key}': attempt to access JSON non-array as array")
    if len(items) > MAX_TENSORS:
        raise InvalidInput(f"a request may have at most {MAX_TENSORS} {key}, got {len(items)}")


def tag_of(id_: str) -> str:
    """What Triton begins with where the request as a whole is at fault."""
    return f"[request id: {id_ or '<id_unknown>'}] "


def missing_member(item: Any) -> InvalidInput:
    """The error for an input or output that lacks one of its members."""
    key = next((key for key in _MEMBERS if type(item) is not dict or key not in item), "name")
    return InvalidInput(f"Unable to parse '{key}': attempt to access non-existing object member '{key}'")


def wrong_member(name: Any, datatype: Any) -> InvalidInput:
    """The error for an input or output of which one member is of the wrong kind."""
    for key, value in (("name", name), ("datatype", datatype)):
        if type(value) is not str:
            return InvalidInput(f"Unable to parse '{key}': attempt to access JSON non-string as string")
    return InvalidInput("Unable to parse 'shape': attempt to access JSON non-array as array")
