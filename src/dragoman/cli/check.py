"""``dragoman check``: would this configuration and these models be served? Loads nothing unless asked to."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragoman.cli.failure import FAILED
from dragoman.cli.flags import AsJson, ConfigFile
from dragoman.config import ServerSettings, load

if TYPE_CHECKING:
    from dragoman.app import Found
    from dragoman.repository.spec import ModelSource

EXAMPLES = """
Examples:

dragoman check models/

dragoman check models/ app.py:Classifier --load --json
"""


def check(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="What would be served.", show_default=False)
    ],
    config: ConfigFile = None,
    load_them: Annotated[
        bool, typer.Option("--load", help="Load each model, one after the other, and unload it again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check configuration and models: exit code 0 if all is well, 1 if a model isn't, 78 for the configuration."""
    settings = load(config, os.environ, {"log.level": "error"}).settings  # the table tells the rest
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    from dragoman.app import find_models
    from dragoman.log import configure
    from dragoman.running import run

    configure(settings.log)
    _check_server(settings.server)
    found = find_models(targets, settings)
    findings = run(_load(found)) if load_them else _read(found)
    _print(findings, as_json)
    if any(finding["problem"] for finding in findings):
        raise typer.Exit(FAILED)


def _check_server(server: ServerSettings) -> None:
    from dragoman.transport.restricting import Restrictions
    from dragoman.transport.tls import server_context

    Restrictions.read(server.restrict)
    if server.tls_cert:
        server_context(server.tls_cert, server.tls_key, server.tls_client_ca or None)


def _read(found: "Found") -> list[dict[str, Any]]:
    from dragoman.errors import ConfigError
    from dragoman.repository.spec import Problem
    from dragoman.runtimes.table import runtime_class

    findings = []
    for model in found:
        finding = {"model": model.name, "version": model.version, "runtime": "", "problem": "", "hint": ""}
        if isinstance(model, Problem):
            finding |= {"problem": model.reason, "hint": model.hint}
        else:
            finding["runtime"] = model.settings.runtime or "python"
            try:
                runtime_class(finding["runtime"])
            except ConfigError as error:
                finding |= {"problem": str(error), "hint": error.hint}
        findings.append(finding)
    return findings


async def _load(found: "Found") -> list[dict[str, Any]]:
    """Load what looks sound, one by one: all at once they may not fit."""
    findings = _read(found)
    for model, finding in zip(found, findings, strict=True):
        if not finding["problem"]:
            finding["problem"] = await _try(model)  # type: ignore[arg-type]  # a Problem has one
    return findings


async def _try(model: "ModelSource") -> str:
    import asyncio

    from dragoman.engine.engine import Engine
    from dragoman.engine.planning import plan
    from dragoman.scheduling.scheduler import LoopClock

    lifecycle = Engine(LoopClock(asyncio.get_running_loop())).lifecycle
    record = await lifecycle.load(plan(model))
    await lifecycle.unload_all()
    return record.reason


def _print(findings: list[dict[str, Any]], as_json: bool) -> None:
    from dragoman.cli import output

    if as_json:
        output.print_json(findings)
        return
    rows = [
        (
            output.text(finding["model"]),
            finding["version"],
            finding["runtime"],
            output.state("problem" if finding["problem"] else "ok"),
            output.text("\n".join(filter(None, (finding["problem"], finding["hint"])))),
        )
        for finding in findings
    ]
    output.console().print(output.table(("model", "version", "runtime", "", "what is wrong"), rows))
