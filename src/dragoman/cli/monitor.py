"""``dragoman monitor``: what a model was trained on, and how far what it is asked has moved from that."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dragoman.cli.flags import DEFAULT_URL, AsJson, Url

REFERENCE_EXAMPLES = """
Examples:

dragoman monitor reference iris train.csv --output models/iris/reference.json

dragoman monitor reference price train.parquet --model-version 2 --output models/price/2/reference.json
"""
DRIFT_EXAMPLES = """
Examples:

dragoman monitor drift

dragoman monitor drift iris --json
"""

monitor = typer.Typer(
    name="monitor", help="Compare what models are asked with what they were trained on.", no_args_is_help=True
)


@monitor.command("reference", epilog=REFERENCE_EXAMPLES)
def reference(
    model: Annotated[str, typer.Argument(help="Name of the model, as the server has it.", metavar="MODEL")],
    rows: Annotated[
        Path,
        typer.Argument(
            help="Rows as the model is asked them: jsonl, csv or parquet.", metavar="FILE", exists=True
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "reference.json"
    ),
    url: Url = DEFAULT_URL,
    model_version: Annotated[str, typer.Option(metavar="VERSION", help="Version of the model.")] = "",
) -> None:
    """Sum up the rows that a model was trained on; the file belongs beside the model."""
    from dragoman.cli import wire
    from dragoman.cli.client import Client, model_path
    from dragoman.cli.failure import Failure
    from dragoman.errors import DragomanError
    from dragoman.monitoring import finding
    from dragoman.monitoring.reference import encode
    from dragoman.tensors import dump_json

    with Client(url) as client:
        specs = wire.read_specs(client.get(model_path(model, model_version)).get("inputs", ()))
        _, batched = wire.batching(client, model, model_version)
    try:
        found = finding.read(rows, specs, batched=batched)
        output.write_bytes(dump_json(encode(found)) + b"\n")
    except DragomanError as error:
        raise Failure(error.message) from error
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from error
    print(f"{output}: {len(found.features)} features of {found.rows} rows")


@monitor.command("drift", epilog=DRIFT_EXAMPLES)
def drift(
    model: Annotated[str, typer.Argument(help="Only this model's.", metavar="[MODEL]")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Tell how far each feature has moved, the farthest first."""
    from dragoman.cli import output
    from dragoman.cli.client import Client

    with Client(url) as client:
        told = client.get("/log/drift")
    told["models"] = [each for each in told["models"] if model in ("", each["model"])]
    if as_json:
        output.print_json(told)
        return
    rows = [_row(each, feature) for each in told["models"] for feature in each["features"]]
    output.console().print(
        output.table(("model", "feature", "verdict", "rows", "PSI", "other test", "p"), rows)
    )


def _row(each: dict[str, Any], feature: dict[str, Any]) -> tuple[str, ...]:
    from dragoman.cli import output

    other = next((test for test in ("ks", "chi_squared") if test in feature), "")
    numbers = feature.get("psi"), feature.get(other)
    return (
        output.text(f"{each['model']} {each['version']}"),
        output.text(feature["feature"]),
        feature["verdict"],
        str(feature["rows"]),
        f"{numbers[0]['statistic']:.3f}" if numbers[0] else "",
        f"{other} {numbers[1]['statistic']:.3f}" if numbers[1] else "",
        f"{numbers[1]['p']:.2g}" if numbers[1] else "",
    )
