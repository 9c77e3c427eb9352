"""One job, run once: its request is answered like any other, or its rows are asked part by part.

Knows no database: what gets on is handed to ``Progress``.
"""

import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from dragoman.caching.ahead import to_answers
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.errors import Code, DragomanError, Internal, InvalidInput
from dragoman.jobs.order import Order
from dragoman.rows.fitting import fit
from dragoman.rows.reading import Rows, Source
from dragoman.rows.values import plain, values_of
from dragoman.store.job import DONE, FAILED, Result
from dragoman.transport.replay import Replay
from dragoman.transport.router import Router
from dragoman.transport.status import STATUS
from dragoman.types import InferRequest, InferResponse, Tensor

DIALECT: Final = "jobs"
#: Codes of failures that pass: the same request may be answered a moment later.
PASSING: Final = (Code.OVERLOADED, Code.NOT_READY)
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run has ended. One that is ``passing`` may be made again."""

    state: str
    result: Result
    error: str = ""
    passing: bool = False


class Progress(Protocol):
    """Where answers to rows go."""

    @property
    def done(self) -> int:
        """Rows that were answered when the run began."""

    async def add(self, first_row: int, body: bytes, rows: int, total: int) -> None:
        """Keep answers to the next rows."""

    async def keep(self, model: Model, answers: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep them among the predictions made ahead."""


async def run_request(order: Order, body: bytes, router: Router, now: float) -> Ended:
    """Answer one request, as its protocol does."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in order.headers]
    replay = Replay(order.path, order.query, headers, body, now)
    answer = await replay.run(router)
    result = Result(
        status=answer.status,
        content_type=answer.content_type,
        headers=json.dumps(answer.headers),
        pieces=(answer.body,),
    )
    if not answer.whole:
        return Ended(FAILED, result, "the answer broke off")
    if 200 <= answer.status < 300:
        return Ended(DONE, result)
    # TorchServe's 503 is also a handler's own failure: only what passes says when to come back.
    passing = answer.status == _UNAVAILABLE and any(name == "Retry-After" for name, _ in answer.headers)
    return Ended(FAILED, result, f"the model answered {answer.status}", passing)


async def run_rows(
    order: Order, body: bytes, engine: Engine, progress: Progress, folder: str, size: int
) -> Ended:
    """Ask for the rows of a file that have no answer yet."""
    with tempfile.TemporaryDirectory(prefix="dragoman-job-") as place:
        try:
            path = _file(order, body, Path(folder), Path(place))
            await _ask_all(Source(path, order.format), order, engine, progress, size)
        except DragomanError as error:
            return _failed(error)
        except OSError as error:
            return _failed(InvalidInput(f"its file can't be read: {error.strerror}"))
    return Ended(DONE, Result(content_type="application/jsonl"))


async def _ask_all(source: Source, order: Order, engine: Engine, progress: Progress, size: int) -> None:
    total = source.count()
    done = progress.done
    model = engine.find(order.model, order.version)
    rows = min(size, model.signature.max_batch or size) if model.signature.batched else size
    for part in source.read(rows, done):
        try:
            lines, answers = await _ask(part, model, engine.ask)
        except DragomanError as error:
            error.message = f"rows {done + 1} to {done + part.count}: {error.message}"
            raise
        if order.stored:
            await progress.keep(model, answers)
        await progress.add(done, lines, part.count, total)
        done += part.count


Ask = Callable[[InferRequest, str], Awaitable[InferResponse]]


async def _ask(part: Rows, model: Model, ask: Ask) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """A line of JSON for each row, and what the store of predictions keeps of it."""
    lines: list[bytes] = []
    answers: list[tuple[bytes, bytes]] = []
    batched = model.signature.batched
    for given in [part.given] if batched else part.singly():
        inputs = fit(given, model.signature.inputs)
        request = InferRequest(model.name, inputs, model.version, fresh=True)
        response = await ask(request, DIALECT)
        answers += to_answers(inputs, response, batched=batched)
        lines += _lines(response.outputs, part.count if batched else 0)
    return b"".join(lines), answers


def _lines(outputs: Sequence[Tensor], rows: int) -> list[bytes]:
    """``rows`` of 0 are outputs that belong to one row as they are."""
    values = {tensor.name: values_of(tensor) for tensor in outputs}
    if not rows:
        return [_line({name: plain(each) for name, each in values.items()})]
    return [_line({name: plain(each[row]) for name, each in values.items()}) for row in range(rows)]


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _file(order: Order, body: bytes, folder: Path, place: Path) -> Path:
    if not order.file:
        path = place / f"rows.{order.format}"
        path.write_bytes(body)
        return path
    return locate(order.file, folder)


def locate(name: str, folder: Path) -> Path:
    """A file below the folder that the operator has opened. Raises InvalidInput."""
    whole = folder.resolve()
    path = (whole / name).resolve()
    if not folder.parts or not path.is_relative_to(whole) or not path.is_file():
        raise InvalidInput(f"there is no file {name!r:.200} in the folder for jobs")
    return path


def _failed(error: DragomanError) -> Ended:
    body = json.dumps({"error": error.message}).encode()
    passing = error.code in PASSING
    return Ended(FAILED, Result(status=STATUS[error.code], pieces=(body,)), error.message, passing)


def failed_unexpectedly(number: str) -> Ended:
    """A bug: the log has it under that number."""
    return _failed(Internal(f"it failed; the server's log has it under id {number}"))
