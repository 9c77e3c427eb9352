"""``dragoman audit``: who did what, when and from where."""

from typing import Annotated

import typer

from dragoman.cli.accounts import Store, opened
from dragoman.cli.flags import AsJson, ConfigFile

EXAMPLES = """
Examples:

dragoman audit --store accounts.db

dragoman audit --limit 1000 --json
"""


def audit(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="So many lines, the latest.")] = 50,
    before: Annotated[int | None, typer.Option(metavar="NUMBER", help="Those before this number.")] = None,
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print who did what, to which model, from where, and what came of it; the latest last."""
    import time

    from dragoman.cli import output
    from dragoman.protocols.accounts.codec import encode_entries

    with opened(store, config) as registrar:
        found = registrar.store.audit(limit=limit, before=before)
    if as_json:
        output.print_json(encode_entries(found)["audit"])
        return
    rows = [
        (
            str(entry.number),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at)),
            *map(output.text, (entry.who, entry.what, entry.model, entry.origin, entry.outcome)),
        )
        for entry in reversed(found)
    ]
    columns = ("number", "time (UTC)", "who", "what", "model", "from", "outcome")
    output.console().print(output.table(columns, rows))
