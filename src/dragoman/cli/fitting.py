"""From what a person typed to tensors, or the line that says why not. A view of ``rows.fitting`` for commands."""

from collections.abc import Sequence
from typing import Any

from dragoman.cli.failure import Failure
from dragoman.rows import fitting
from dragoman.rows.fitting import UNNAMED, Unfit
from dragoman.types import Tensor, TensorSpec

__all__ = ["UNNAMED", "fit"]


def fit(given: Any, specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
    """A tensor for each input that was given. Raises Failure where the two can't be brought together."""
    try:
        return fitting.fit(given, specs)
    except Unfit as error:
        raise Failure(error.message, hint=error.hint) from error
