"""``dragoman predict``: what a person gives, as tensors, to a model; what it answers, as a table or JSON."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dragoman.cli.failure import USAGE, Failure
from dragoman.cli.flags import DEFAULT_URL, AsJson, Url

if TYPE_CHECKING:
    from dragoman.cli.client import Client
    from dragoman.types import Tensor

EXAMPLES = """
Examples:

dragoman predict iris '[[5.1, 3.5, 1.4, 0.2]]'

dragoman predict price '{"rooms": [3], "area": [70.5]}' --json

dragoman predict iris flowers.csv --rows-per-request 100

dragoman predict iris flowers.npy --model-path iris.onnx
"""


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.", show_default=False)],
    given: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            help="JSON, a file (json, jsonl, csv, npy, npz; of any other the bytes), a text, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    model_path: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET", help="Load the model from here instead of asking a server.", show_default=False
        ),
    ] = None,
    model_version: Annotated[
        str,
        typer.Option(
            metavar="VERSION", help="Version of the model; the newest otherwise.", show_default=False
        ),
    ] = "",
    output: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Ask for this output only; may be repeated.")
    ] = None,
    input_format: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="json, jsonl, csv, npy, npz or bytes; auto goes by the name."
        ),
    ] = "auto",
    rows_per_request: Annotated[
        int,
        typer.Option(
            metavar="INTEGER", min=0, help="Split the rows; 0 splits only at the model's max_batch."
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask a model, on a running server or loaded for the occasion."""
    from dragoman.cli import answer, reading
    from dragoman.cli.client import Client

    if input_format not in reading.READERS:
        raise Failure(
            f"unknown format {input_format!r}", hint="known: " + ", ".join(reading.READERS), code=USAGE
        )
    question = reading.read_input(given, input_format)
    with _server(url, model_path) as address, Client(address) as client:
        outputs = _ask(client, model, model_version, question, output or (), rows_per_request)
    if as_json:
        print(json.dumps(answer.document(model, outputs), indent=2, ensure_ascii=False))
    else:
        answer.show(outputs)


def _ask(
    client: "Client", name: str, version: str, question: object, outputs: Sequence[str], rows: int
) -> "Sequence[Tensor]":
    from dragoman.cli import fitting, wire
    from dragoman.cli.client import model_path

    metadata = client.get(model_path(name, version))
    specs = wire.read_specs(metadata.get("inputs", ()))
    inputs = fitting.fit(question, specs)
    limit = wire.max_batch(client, name, version)
    size = min(rows or limit, limit or rows)
    parts = list(wire.split(inputs, size))
    answers = [wire.predict(client, name, version, part, outputs) for part in _progress(parts)]
    return wire.join(answers)


def _progress(parts: "list[Sequence[Tensor]]") -> "Iterator[Sequence[Tensor]]":
    """The parts, with a bar on standard error where somebody watches and there is something to watch."""
    if len(parts) == 1 or not sys.stderr.isatty():
        yield from parts
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(parts, "asking", console=Console(stderr=True), transient=True)


@contextmanager
def _server(url: str, target: str | None) -> Iterator[str]:
    """The address of the running server, or of one that serves ``target`` meanwhile."""
    if target is None:
        yield url
        return
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    from dragoman.config import load
    from dragoman.log import configure
    from dragoman.testing import TestClient

    settings = load(None, os.environ, {"log.level": "error"}).settings
    configure(settings.log)
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(TestClient(target, settings=settings))
        except RuntimeError as error:  # the model doesn't load
            raise Failure(str(error)) from error
        yield server.url
