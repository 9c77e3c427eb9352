"""From what a model was asked and has answered to what the store of predictions keeps. Pure."""

from collections.abc import Sequence

from dragoman.caching.entries import encode_entry, split_rows
from dragoman.caching.keys import input_key, row_keys
from dragoman.errors import InvalidOutput
from dragoman.types import InferResponse, Tensor


def to_answers(
    inputs: Sequence[Tensor], response: InferResponse, *, batched: bool
) -> list[tuple[bytes, bytes]]:
    """Keys of inputs and entries of answers: one for each row where rows are ``batched``, else one.

    Raises InvalidOutput where there is not an answer for each row.
    """
    if not batched:
        return [(input_key(inputs), encode_entry(response))]
    keys = row_keys(inputs)
    answers = split_rows(response, len(keys))
    if answers is None:
        raise InvalidOutput(f"model {response.model!r} has not answered one row for each of {len(keys)}")
    return list(zip(keys, map(encode_entry, answers), strict=True))
