"""Bytes and JSON to arrays and back, for every datatype; every size is checked before anything is allocated.

Knows datatypes, shapes and JSON. Knows no protocol: which key holds a tensor is the codecs' business.
"""

from dragoman.tensors.raw import (
    MAX_DIMENSIONS,
    MAX_ELEMENTS,
    Buffer,
    bytes_array,
    count_elements,
    datatype_of,
    decode_raw,
    elements_of,
    encode_raw,
    join_bytes,
    split_bytes,
)
from dragoman.tensors.text import MAX_JSON_VALUES, check_json_depth, check_json_keys, dump_json, parse_json
from dragoman.tensors.values import from_json, to_json

__all__ = [
    "MAX_DIMENSIONS",
    "MAX_ELEMENTS",
    "MAX_JSON_VALUES",
    "Buffer",
    "bytes_array",
    "check_json_depth",
    "check_json_keys",
    "count_elements",
    "datatype_of",
    "decode_raw",
    "dump_json",
    "elements_of",
    "encode_raw",
    "from_json",
    "join_bytes",
    "parse_json",
    "split_bytes",
    "to_json",
]
