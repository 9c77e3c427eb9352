"""``dragoman predict``: what a person gives, as tensors, to a model; what it answers, as a table or JSON."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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

dragoman predict --model iris/2 --input flowers.parquet --store predictions.db
"""


def predict(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Name of the model.", show_default=False)
    ] = None,
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
            "--rows-per-request",
            "--batch",
            metavar="INTEGER",
            min=0,
            help="Split the rows; 0 splits only at the model's max_batch.",
        ),
    ] = 0,
    as_json: AsJson = False,
    named: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL[/VERSION]",
            help="The same as MODEL, with a version.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE", help="The same as INPUT, for files.", show_default=False),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Keep the answers to all rows of a file (jsonl, csv, parquet) in this SQLite file or database, for"
            " servers with predictions.store; a run that was stopped goes on.",
            rich_help_panel="Predict ahead",
            show_default=False,
        ),
    ] = None,
    output_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --store: write the answers here, too, in the order of the rows (jsonl, csv, parquet).",
            rich_help_panel="Predict ahead",
            show_default=False,
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="With --store: predict what was predicted before.",
            rich_help_panel="Predict ahead",
        ),
    ] = False,
) -> None:
    """Ask a model, on a running server or loaded for the occasion."""
    name, version, given = _read_names(model, named, model_version, given, file)
    if store is not None:
        with _server(url, model_path) as address:
            _predict_ahead(
                address, name, version, given, input_format, store, rows_per_request, again, output_file
            )
        return
    if again or output_file is not None:
        raise Failure("--again and --output-file go with --store", code=USAGE)
    from dragoman.cli import answer, reading
    from dragoman.cli.client import Client

    if input_format not in reading.READERS:
        raise Failure(
            f"unknown format {input_format!r}", hint="known: " + ", ".join(reading.READERS), code=USAGE
        )
    question = reading.read_input(given, input_format)
    with _server(url, model_path) as address, Client(address) as client:
        outputs = _ask(client, name, version, question, output or (), rows_per_request)
    if as_json:
        print(json.dumps(answer.document(name, outputs), indent=2, ensure_ascii=False))
    else:
        answer.show(outputs)


def _read_names(
    model: str | None, named: str | None, version: str, given: str | None, file: str | None
) -> tuple[str, str, str | None]:
    """Model, version and input, each of which can be said in two ways."""
    if named is not None:
        # With --model the one argument there may be is the input.
        model, given = named, given if given is not None else model
        model, _, said = named.partition("/")
        version = version or said
    if not model:
        raise Failure("ask which model?", hint="dragoman predict MODEL INPUT", code=USAGE)
    if file is not None and given is not None:
        raise Failure("there is an INPUT and an --input", hint="give one of them", code=USAGE)
    return model, version, given if file is None else file


def _predict_ahead(
    address: str,
    name: str,
    version: str,
    given: str | None,
    input_format: str,
    store: str,
    rows: int,
    again: bool,
    output: Path | None,
) -> None:
    from dragoman.cli.ahead import predict_ahead
    from dragoman.cli.client import Client
    from dragoman.errors import InvalidInput
    from dragoman.rows.reading import Source

    if given is None or not Path(given).is_file():
        raise Failure("--store needs a file of rows", hint="--input rows.parquet, .csv or .jsonl", code=USAGE)
    try:
        source = Source(Path(given), input_format)
    except InvalidInput as error:
        raise Failure(error.message, code=USAGE) from error
    with Client(address) as client:
        print(
            predict_ahead(client, name, version, source, store, rows=rows, again=again, output=output),
            file=sys.stderr,
        )


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
