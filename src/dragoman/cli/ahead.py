"""``dragoman predict --store``: every row of a file is asked, and the answers are kept for whoever asks it later.

What was done is written with the answers themselves, so that a run that was killed goes on where it was.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dragoman.caching.ahead import to_answers
from dragoman.cli import wire, writing
from dragoman.cli.client import Client, model_path
from dragoman.cli.failure import Failure
from dragoman.errors import DragomanError, InvalidInput
from dragoman.rows.fitting import Unfit, fit
from dragoman.rows.reading import Rows, Source
from dragoman.rows.values import plain, values_of
from dragoman.types import InferResponse, Tensor, TensorSpec

if TYPE_CHECKING:
    from rich.progress import Progress

    from dragoman.store.predictions import Predictions, Run

#: Rows of one request where neither the operator nor the model has said how many.
ROWS: Final = 256
#: Rows whose answers are written at once, at least.
WRITTEN: Final = 1000


@dataclass(frozen=True, slots=True)
class Model:
    """What is asked. A ``batched`` model answers rows that don't know of each other, at most ``limit`` at once."""

    client: Client
    name: str
    version: str
    specs: Sequence[TensorSpec]
    batched: bool
    limit: int

    def ask(self, inputs: Sequence[Tensor]) -> InferResponse:
        """The model's own answer, whatever the server has kept. Raises Failure."""
        outputs = wire.predict(self.client, self.name, self.version, inputs, (), fresh=True)
        return InferResponse(self.name, self.version, tuple(outputs))


def predict_ahead(
    client: Client,
    name: str,
    version: str,
    source: Source,
    where: str,
    *,
    rows: int,
    again: bool,
    output: Path | None,
) -> str:
    """Predict every row and keep the answers; what was done before is not done again. Tells what there is now.

    ``rows`` are asked at once, 0 leaves it to the model. Raises Failure.
    """
    from dragoman.store import open_predictions

    if output is not None:
        writing.check(output)
    with _as_failure(source):
        total = source.count()
        if not total:
            raise Failure(f"there are no rows in {str(source.path)!r}")
        model = _describe(client, name, version, source)
        store = open_predictions(where)
        try:
            run = store.begin(_run(model, source), again=again)
            before = run.rows
            if not run.finished:
                run = _go_on(store, run, model, source, min(rows or ROWS, model.limit or rows or ROWS), total)
            if output is not None:
                writing.write(output, _answers(store, model, source))
            return _told(run, before, store.count(model.name, model.version))
        finally:
            store.close()


def _describe(client: Client, name: str, version: str, source: Source) -> Model:
    """The model, and the version that answers now where none is named: all rows are asked of the same one."""
    specs = wire.read_specs(client.get(model_path(name, version)).get("inputs", ()))
    limit, batched = wire.batching(client, name, version)
    if not version:
        first = next(source.read(1))
        version = wire.version_of(
            client, name, fit(first.given, specs) if batched else _single(first, specs)[0]
        )
    return Model(client, name, version, specs, batched, limit)


def _run(model: Model, source: Source) -> "Run":
    from dragoman.store.predictions import Run

    identity = json.dumps([model.name, model.version, model.batched, source.digest()])
    return Run(hashlib.sha256(identity.encode()).hexdigest(), model.name, model.version)


def _go_on(store: "Predictions", run: "Run", model: Model, source: Source, rows: int, total: int) -> "Run":
    with _progress() as progress:
        task = progress.add_task(f"predicting {model.name} {model.version}", total=total, completed=run.rows)
        for part in source.read(max(rows, WRITTEN), run.rows):
            answers = []
            for inputs in _questions(part, model, rows):
                answers += to_answers(inputs, model.ask(inputs), batched=model.batched)
            run = store.add(run, answers, part.count)
            progress.update(task, completed=run.rows)
    store.finish(run)
    return run


def _questions(part: Rows, model: Model, rows: int) -> Iterator[Sequence[Tensor]]:
    if not model.batched:
        return iter(_single(part, model.specs))
    inputs = fit(part.given, model.specs)
    for tensor in inputs:
        if tensor.data.shape[:1] != (part.count,):
            raise InvalidInput(
                f"{part.count} rows make an input {tensor.name!r} of shape {list(tensor.shape)},"
                " whose first dimension does not count them"
            )
    return wire.split(inputs, rows)


def _single(part: Rows, specs: Sequence[TensorSpec]) -> list[tuple[Tensor, ...]]:
    """A model whose rows belong together is asked one row of the file at a time."""
    return [fit(row, specs) for row in part.singly()]


def _answers(store: "Predictions", model: Model, source: Source) -> Iterator[dict[str, Any]]:
    """What is kept for each row of the file, in its order."""
    from dragoman.caching.entries import decode_entry
    from dragoman.caching.keys import input_key, row_keys

    for part in source.read(WRITTEN):
        keys = [
            key
            for inputs in _questions(part, model, WRITTEN)
            for key in (row_keys(inputs) if model.batched else [input_key(inputs)])
        ]
        for entry in store.get_many([(model.name, model.version, key) for key in keys]):
            if entry is None:
                raise Failure("a prediction is not in the store any more", hint="predict again with --again")
            outputs = decode_entry(entry).outputs
            yield {t.name: plain(values_of(t)[0] if model.batched else values_of(t)) for t in outputs}


def _told(run: "Run", before: int, kept: int) -> str:
    if before and before == run.rows:
        done = f"all {run.rows} rows were predicted before"
    else:
        done = f"{run.rows} rows predicted" + (f", {before} of them before" if before else "")
    return f"{done}; the store has {kept} predictions of {run.model} {run.version}"


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on standard error, where somebody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        yield progress


@contextmanager
def _as_failure(source: Source) -> Iterator[None]:
    from dragoman.store.predictions import RunTaken

    try:
        yield
    except Unfit as error:
        raise Failure(error.message, hint=error.hint) from error
    except DragomanError as error:
        raise Failure(error.message) from error
    except OSError as error:
        raise Failure(f"can't read {str(source.path)!r}: {error.strerror}") from error
    except RunTaken as error:
        raise Failure("the same run goes on elsewhere at this moment", hint="let one of them end") from error
