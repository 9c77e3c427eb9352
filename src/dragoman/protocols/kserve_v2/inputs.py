"""The inputs of a request: their members, and their data from JSON or from the bytes behind it.

Knows one request's body, and is handed what it has in shared memory. Whether a model wants such inputs is the engine's
to say.
"""

from typing import Any, Final

from dragoman.errors import InvalidInput
from dragoman.protocols.kserve_v2.binary import decode_tensor
from dragoman.protocols.kserve_v2.members import (
    check_list,
    check_unsigned,
    decode_object,
    decode_tensor_parameters,
    missing_member,
    tag_of,
    wrong_member,
)
from dragoman.protocols.kserve_v2.windows import PLACES, REGION, Shared, open_window
from dragoman.tensors import Buffer, from_json
from dragoman.types import DTYPES, Array, Parameters, Tensor

_SOURCES: Final = ("data", "binary_data_size", REGION)
_ONE_SOURCE: Final = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters',"
    " 'shared_memory_region' in 'parameters'. But"
)


def decode_inputs(
    items: Any, text: bytes, body: Buffer, model: str, id_: str, shared: Shared
) -> tuple[tuple[Tensor, ...], int]:
    """The inputs, and how many keys they had.

    ``text`` is the JSON that ``items`` are of, at the beginning of ``body``; raw data behind it must be used up.
    """
    check_list(items, "inputs")
    tensors: dict[str, Tensor] = {}
    keys, at, lent = 0, len(text), 0
    booleans = b"true" in text or b"false" in text
    for item in items:
        try:
            name, datatype, shape = item["name"], item["datatype"], item["shape"]
        except (KeyError, TypeError):
            raise missing_member(item) from None
        if type(name) is not str or type(datatype) is not str or type(shape) is not list:
            raise wrong_member(name, datatype)
        if datatype not in DTYPES:
            raise InvalidInput(f"invalid datatype for input {name}")
        if name in tensors:
            raise InvalidInput(f"{tag_of(id_)}input '{name}' already exists in request")
        keys += len(item)
        if "data" in item and "parameters" not in item:  # the plainest form
            tensors[name] = Tensor(
                name, datatype, from_json(item["data"], datatype, shape, name, booleans), {}
            )
            continue
        parameters = decode_object(item)
        keys += len(parameters)
        if REGION in parameters:
            _check_source(item, parameters)
            window = open_window(parameters, shared.find)
            lent += window.size
            shared.check_total(lent)
            data = decode_tensor(name, datatype, shape, window.read(), model, tag_of(id_))
            parameters = {key: value for key, value in parameters.items() if key not in PLACES}
        else:
            data, at = _decode_source(item, (name, datatype, shape), body, at, model, tag_of(id_))
        tensors[name] = Tensor(name, datatype, data, decode_tensor_parameters(parameters))
    if at != len(body):
        raise InvalidInput(f"unexpected additional input data for model '{model}'")
    return tuple(tensors.values()), keys


def _decode_source(
    item: Parameters, members: tuple[str, str, list[Any]], body: Buffer, at: int, model: str, tag: str
) -> tuple[Array, int]:
    """The data of an input that has parameters, from its one source, and where the next raw data begins."""
    name, datatype, shape = members
    parameters = decode_object(item)
    item = _check_source(item, parameters)
    if "data" in item:
        return from_json(item["data"], datatype, shape, name), at
    size: int = parameters["binary_data_size"]
    check_unsigned("binary_data_size", size)
    missing = at + size - len(body)
    if missing > 0:
        raise InvalidInput(
            f"unexpected size for input '{name}', expecting {missing} additional bytes for model '{model}'"
        )
    return decode_tensor(name, datatype, shape, memoryview(body)[at : at + size], model, tag), at + size


def _check_source(item: Parameters, parameters: Parameters) -> Parameters:
    """Raise unless the data of an input comes from exactly one place. Returns its members that are set."""
    if item.get("data", item) is None:  # not set: KServe's client says so of a raw tensor without elements
        item = {key: value for key, value in item.items() if key != "data"}
    has = [
        f"'{key}'"
        for key, holder in zip(_SOURCES, (item, parameters, parameters), strict=True)
        if key in holder
    ]
    if len(has) != 1:
        raise InvalidInput(f"{_ONE_SOURCE} {'set ' + ' '.join(has) if has else 'no field is set'}")
    return item
