"""Finds and reads the reference that lies beside a model. Blocks. Knows files, not what is done with it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dragoman.errors import InvalidInput
from dragoman.monitoring.features import MOST_ROWS, columns_of
from dragoman.monitoring.reference import Reference, decode, summarize
from dragoman.repository.spec import ModelSource
from dragoman.rows.fitting import fit
from dragoman.rows.reading import READERS, Source
from dragoman.types import Array, TensorSpec

NAME: Final = "reference"
#: What a reference may be, the first that is there; one made ahead is read in no time.
SUFFIXES: Final = ("json", *READERS)


def find(source: ModelSource) -> Path | None:
    """The reference beside a model: in its version's folder, or in its own."""
    places = [source.path if source.path is None or source.path.is_dir() else None, source.folder]
    for place in filter(None, places):
        for suffix in SUFFIXES:
            if (path := place / f"{NAME}.{suffix}").is_file():
                return path
    return None


def read(path: Path, specs: Sequence[TensorSpec], *, batched: bool) -> Reference:
    """The reference in a file: one made ahead, or rows as the model is asked them. Raises InvalidInput, OSError."""
    if path.suffix == ".json":
        try:
            return decode(json.loads(path.read_bytes()))
        except ValueError as error:
            raise InvalidInput(f"the reference is no JSON: {error}") from error
    return summarize(_columns(Source(path, "auto"), specs, batched=batched))


def _columns(source: Source, specs: Sequence[TensorSpec], *, batched: bool) -> Iterator[dict[str, Array]]:
    for rows in source.read(MOST_ROWS):
        if batched or all(len(spec.shape) <= 1 for spec in specs):
            yield columns_of(fit(rows.given, specs), batched=batched)
            continue
        for row in rows.singly():
            yield columns_of(fit(row, specs), batched=False)
