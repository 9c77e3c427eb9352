"""``dragoman deploy``: the same models and the same front ends, the work done elsewhere."""

import os
import re
from typing import Annotated

import typer

from dragoman.cli import serve
from dragoman.cli.failure import USAGE, Failure
from dragoman.cli.flags import ConfigFile, Flags, with_settings
from dragoman.config import load

RAY_EXAMPLES = """
Examples:

dragoman deploy ray models/ --replicas 4

dragoman deploy ray app.py:Classifier --autoscale 1:8 --replica-gpus 0.5

dragoman deploy ray models/ --ray-address 10.0.0.5:6379 --host 0.0.0.0
"""

deploy = typer.Typer(no_args_is_help=True, help="Serve models whose work is done by a cluster.")


@deploy.callback()
def callback() -> None:
    """Serve models whose work is done by a cluster."""


@with_settings
def ray(
    flags: Flags,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="What `dragoman serve` takes: files, folders, archives, module:Class.",
            show_default=False,
        ),
    ],
    replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas", min=0, help="Replicas of each model; the same as --instances.", show_default=False
        ),
    ] = None,
    autoscale: Annotated[
        str | None,
        typer.Option(
            metavar="MIN:MAX",
            help="Replicas between the two, as the load is; --target-delay and --idle-timeout say when.",
            show_default=False,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Cluster to join, HOST:PORT or auto; without it a cluster of this machine.",
            envvar="RAY_ADDRESS",
            show_envvar=True,
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop with exit code 1 if any model fails to load, not only if all do."
        ),
    ] = False,
) -> None:
    """Serve models as replicas in a Ray cluster, until SIGTERM or Ctrl-C."""
    flags = flags | _scale(replicas, autoscale)
    flags["models.execution"] = flags["models.execution"] or "ray"
    if ray_address:
        os.environ["RAY_ADDRESS"] = ray_address
    settings = load(config, os.environ, flags).settings
    raise typer.Exit(serve.run(targets, settings, strict))


deploy.command("ray", epilog=RAY_EXAMPLES)(ray)


def _scale(replicas: int | None, autoscale: str | None) -> Flags:
    """The flags of ``serve`` that say the same. Raises Failure."""
    if autoscale is None:
        return {} if replicas is None else {"models.instances": str(replicas)}
    found = re.fullmatch(r"(\d+):(\d+)", autoscale)
    if found is None or int(found[1]) > int(found[2]) or not int(found[2]):
        raise Failure(
            f"--autoscale must be MIN:MAX, got {autoscale!r}", hint="as in --autoscale 1:8", code=USAGE
        )
    if replicas is not None:
        raise Failure("give --replicas or --autoscale, not both", code=USAGE)
    return {"models.instances": found[1], "models.max_instances": found[2]}
