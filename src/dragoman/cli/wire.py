"""Predictions over the Open Inference Protocol with binary tensors: the client's half. Knows no terminal."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dragoman.cli.client import Client, accept, model_path
from dragoman.cli.failure import Failure
from dragoman.protocols.kserve_v2.client import LENGTH, decode_response, encode_request
from dragoman.protocols.kserve_v2.metadata import ROWS_KEY
from dragoman.types import Tensor, TensorSpec


def read_specs(metadata: Sequence[Any]) -> list[TensorSpec]:
    """The inputs or outputs in a model's metadata."""
    return [TensorSpec(each["name"], each["datatype"], tuple(map(int, each["shape"]))) for each in metadata]


def max_batch(client: Client, name: str, version: str) -> int:
    """The most rows a request may have; 0 where the server knows no limit or doesn't tell."""
    return batching(client, name, version)[0]


def batching(client: Client, name: str, version: str) -> tuple[int, bool]:
    """The most rows a request may have (0 is any number), and whether rows don't know of each other."""
    answer = client.ask("GET", model_path(name, version) + "/config")
    try:
        config = json.loads(answer.body) if answer.status == 200 else {}
        limit = int(config.get("max_batch_size", 0))
        return limit, limit > 0 or ROWS_KEY in config.get("parameters", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, False


def version_of(client: Client, name: str, inputs: Sequence[Tensor]) -> str:
    """The version that answers who names none. Raises Failure."""
    body, headers = encode_request(inputs)
    answer = accept(client.ask("POST", model_path(name) + "/infer", body, headers))
    try:
        length = answer.headers.get(LENGTH.lower())
        return str(json.loads(answer.body[: int(length)] if length else answer.body)["model_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"the server's answer is no v2 answer: {error}") from error


def split(inputs: Sequence[Tensor], rows: int) -> Iterator[Sequence[Tensor]]:
    """The inputs cut along their first dimension, ``rows`` at a time; 0 leaves them whole."""
    sizes = {len(tensor.data) if tensor.data.ndim else 0 for tensor in inputs}
    if len(sizes) != 1 or not 0 < rows < max(sizes):
        yield inputs
        return
    for start in range(0, max(sizes), rows):
        yield [Tensor(each.name, each.datatype, each.data[start : start + rows]) for each in inputs]


def join(answers: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
    """Answers to parts of one question, as one. Raises Failure where an output doesn't count rows."""
    if len(answers) == 1:
        return answers[0]
    try:
        return [
            Tensor(parts[0].name, parts[0].datatype, np.concatenate([part.data for part in parts]))
            for parts in zip(*answers, strict=True)
        ]
    except ValueError as error:
        raise Failure(f"the answers to several requests can't be joined: {error}") from error


def predict(
    client: Client,
    name: str,
    version: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[str],
    *,
    fresh: bool = False,
) -> list[Tensor]:
    """Ask once. No ``outputs`` means all; a ``fresh`` answer is the model's, whatever is kept. Raises Failure."""
    body, headers = encode_request(inputs, outputs)
    if fresh:
        headers["Cache-Control"] = "no-cache"
    answer = accept(client.ask("POST", model_path(name, version) + "/infer", body, headers))
    try:
        return decode_response(answer.body, answer.headers.get(LENGTH.lower()))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"the server's answer is no v2 answer: {error}") from error
