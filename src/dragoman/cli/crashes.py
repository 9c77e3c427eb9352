"""``dragoman crashes``: why worker processes of a running server died."""

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from dragoman.cli.flags import DEFAULT_URL, AsJson, Url

EXAMPLES = """
Examples:

dragoman crashes

dragoman crashes add --json
"""


def crashes(
    model: Annotated[str, typer.Argument(help="Only this model's.", metavar="[MODEL]")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Tell why worker processes died, the newest first."""
    from dragoman.cli import output
    from dragoman.cli.client import Client

    with Client(url) as client:
        reports = client.get(f"/crashes/{quote(model, safe='')}" if model else "/crashes")
    if as_json:
        output.print_json(reports)
        return
    rows = [_row(report) for report in reports]
    output.console().print(
        output.table(("when", "model", "id", "reason", "requests", "cause, last output"), rows)
    )


def _row(report: dict[str, Any]) -> tuple[str, ...]:
    from dragoman.cli import output

    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report["time"]))
    told = "\n".join([report["cause"], *report["output"][-3:]])
    name = f"{report['model']} {report['version']}#{report['instance']}"
    return (
        when,
        output.text(name),
        report["id"],
        report["reason"],
        output.text(", ".join(report["requests"])),
        output.text(told),
    )
