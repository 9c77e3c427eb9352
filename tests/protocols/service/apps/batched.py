"""Rows of several requests in one call."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

import dragoman


class Word(BaseModel):
    text: str


class Lengths(BaseModel):
    lengths: list[int]
    calls: list[int]


@dragoman.service(envelope=False)
class Batched:
    def __init__(self):
        self.calls = 0

    @dragoman.endpoint(batch=True)
    def predict(self, words: list[Word], extra: int = 0) -> Lengths:
        """Lengths, and with each how many rows its call had."""
        if any(word.text == "bad" for word in words):
            raise RuntimeError("bad")
        return Lengths(lengths=[len(word.text) + extra for word in words], calls=[len(words)] * len(words))

    @dragoman.endpoint(batch=True)
    def double(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return rows * 2

    @dragoman.endpoint(batch=True)
    def lose(self, rows: list[int]) -> list[int]:
        return rows[:-1]
