"""``dragoman tritonserver``: tritonserver's own flags and ports, over Dragoman's engine.

Its flags are read by argparse, from the table of them: ``--flag=value`` and ``--flag value``.
"""

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from dragoman.profiles.triton.flags import Flag
    from dragoman.profiles.triton.settings import Configuration, Given

log = logging.getLogger("dragoman.tritonserver")

EXAMPLES = """
Examples:

dragoman tritonserver --model-repository=models

dragoman tritonserver --model-repository models --http-address 0.0.0.0 --grpc-address 0.0.0.0 --log-verbose 1
"""

#: Click leaves every word to argparse.
CONTEXT: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def tritonserver(context: typer.Context) -> None:
    """Serve a model repository as tritonserver does: its flags, ports and answers."""
    raise typer.Exit(run(context.args))


def run(arguments: Sequence[str]) -> int:
    """What the command does with its words; returns the exit code. Raises ConfigError and Failure."""
    from dragoman.profiles.triton.settings import read

    return _serve(read(_given(arguments)))


def _serve(configuration: "Configuration") -> int:
    from dragoman.app import App
    from dragoman.cli.serve import present
    from dragoman.log import configure
    from dragoman.profiles.triton.launcher import TritonServer
    from dragoman.running import run as run_loop
    from dragoman.running import serve

    configure(configuration.settings.log)
    for warning in configuration.warnings:
        log.warning(warning)
    for note in configuration.notes:
        log.info(note)
    app = TritonServer(configuration)

    def started(_: App) -> None:
        present(app.url, app.overview(), configuration.strict, app.grpc_address)

    return run_loop(serve(app, started))


def _given(arguments: Sequence[str]) -> "Given":
    """Every value of every flag that was given, by its name."""
    found = vars(_parser().parse_args(arguments))
    return {name: values for name, values in found.items() if values is not None}


def _parser() -> argparse.ArgumentParser:
    from dragoman.profiles.triton.flags import FLAGS

    parser = argparse.ArgumentParser(
        prog="dragoman tritonserver",
        description="Serve a model repository with tritonserver's flags, ports and answers.",
        epilog="See docs/triton.md.",
        usage="dragoman tritonserver --model-repository=DIR [flags]",
    )
    for flag in FLAGS:
        text = _help(flag)
        if flag.kind:
            parser.add_argument(
                flag.spelling, dest=flag.name, action="append", metavar=flag.kind.upper(), help=text
            )
        else:
            parser.add_argument(flag.spelling, dest=flag.name, action="append_const", const="", help=text)
    return parser


def _help(flag: "Flag") -> str:
    from dragoman.profiles.use import Use

    use = "" if flag.use is Use.HONOURED else f"{flag.use.value}: "
    default = f" (default: {flag.default})" if flag.default else ""
    return f"{use}{flag.meaning}{default}".replace("`", "").replace("%", "%%")
