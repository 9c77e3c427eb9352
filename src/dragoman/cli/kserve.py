"""``dragoman kserve``: the command of a KServe runtime's container, with the flags of KServe's own servers.

Its flags are read by argparse, as those of KServe's servers are: ``--flag=value`` and ``--flag value``.
"""

import logging
import os
from collections.abc import Sequence
from typing import Final

import typer

log = logging.getLogger("dragoman.kserve")

EXAMPLES = """
Examples:

dragoman kserve --model_name=iris --model_dir=/mnt/models

dragoman kserve --model_name=iris --model_dir=./iris.onnx --http_port=8080 --grpc_port=8081
"""

#: Click leaves every word to argparse.
CONTEXT: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def kserve(context: typer.Context) -> None:
    """Serve the model in a folder as KServe's runtimes do: their flags, one name."""
    raise typer.Exit(run(context.args))


def run(arguments: Sequence[str]) -> int:
    """What the command does with its words; returns the exit code. Raises ConfigError and Failure."""
    from dragoman.cli import serve
    from dragoman.config import load
    from dragoman.log import configure
    from dragoman.runtimes.table import guess
    from dragoman.serving.mounted import explain, find_target, flags_of, make_mounted_parser

    given = make_mounted_parser().parse_args(arguments)
    settings = load(None, os.environ, flags_of(given)).settings
    target = find_target(given.model_name, given.model_dir, guess)
    configure(settings.log)
    for line in explain(vars(given)):
        log.info(line)
    return serve.run([target], settings, strict=False)
