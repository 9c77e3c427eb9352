"""The command line: one file a command, and here their list and what an error becomes.

Every command imports what is heavy when it runs: ``dragoman --help`` needs no numpy and ``serve`` no tables.
"""

import sys
from typing import Annotated

import typer

from dragoman import __version__
from dragoman.cli import (
    archive,
    audit,
    check,
    compat_path,
    config,
    crashes,
    demo,
    deploy,
    init,
    keys,
    kserve,
    models,
    monitor,
    predict,
    routes,
    run,
    serve,
    torchserve,
    tritonserver,
    users,
)
from dragoman.cli.failure import CONFIGURATION, INTERRUPTED, Failure, report
from dragoman.errors import ConfigError

SERVING, ASKING, KNOWING = "Serve models", "Ask a server", "Know what a server would do"
ALLOWING = "Say who may"

app = typer.Typer(
    name="dragoman",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def dragoman(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """One Python model server that speaks every inference dialect its users already speak."""


app.command("serve", epilog=serve.EXAMPLES, rich_help_panel=SERVING)(serve.serve)
app.command("init", epilog=init.EXAMPLES, rich_help_panel=SERVING)(init.init)
app.command("check", epilog=check.EXAMPLES, rich_help_panel=SERVING)(check.check)
app.command("demo", epilog=demo.EXAMPLES, rich_help_panel=SERVING)(demo.demo)
app.command(
    "torchserve",
    epilog=torchserve.EXAMPLES,
    rich_help_panel=SERVING,
    context_settings=torchserve.CONTEXT,
    add_help_option=False,
)(torchserve.torchserve)
app.command(
    "tritonserver",
    epilog=tritonserver.EXAMPLES,
    rich_help_panel=SERVING,
    context_settings=tritonserver.CONTEXT,
    add_help_option=False,
)(tritonserver.tritonserver)
app.command("run", epilog=run.EXAMPLES, rich_help_panel=SERVING, context_settings=run.CONTEXT)(run.run)
app.command("compat-path", epilog=compat_path.EXAMPLES, rich_help_panel=KNOWING)(compat_path.compat_path)
app.command(
    "kserve",
    epilog=kserve.EXAMPLES,
    rich_help_panel=SERVING,
    context_settings=kserve.CONTEXT,
    add_help_option=False,
)(kserve.kserve)
app.add_typer(deploy.deploy, name="deploy", rich_help_panel=SERVING)
app.command("archive", epilog=archive.EXAMPLES, rich_help_panel=SERVING)(archive.archive)
app.command("predict", epilog=predict.EXAMPLES, rich_help_panel=ASKING)(predict.predict)
app.add_typer(models.models, name="models", rich_help_panel=ASKING)
app.add_typer(monitor.monitor, name="monitor", rich_help_panel=ASKING)
app.command("crashes", epilog=crashes.EXAMPLES, rich_help_panel=ASKING)(crashes.crashes)
app.add_typer(keys.keys, name="keys", rich_help_panel=ALLOWING)
app.add_typer(users.users, name="users", rich_help_panel=ALLOWING)
app.command("audit", epilog=audit.EXAMPLES, rich_help_panel=ALLOWING)(audit.audit)
app.command("routes", epilog=routes.EXAMPLES, rich_help_panel=KNOWING)(routes.routes)
app.add_typer(config.config, name="config", rich_help_panel=KNOWING)


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except Failure as failure:
        report(failure, failure.hint)
        sys.exit(failure.code)
    except ConfigError as error:
        report(error, error.hint)
        sys.exit(CONFIGURATION)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
