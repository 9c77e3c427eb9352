"""``dragoman serve``: settings from three places, models from what was named, a server until a signal."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dragoman.cli import banner
from dragoman.cli.failure import USAGE, Failure
from dragoman.cli.flags import ConfigFile, Flags, with_settings
from dragoman.config import Settings, load, secret_variables

log = logging.getLogger("dragoman")

EXAMPLES = """
Examples:

dragoman serve iris.onnx

dragoman serve models/ --port 9000 --max-batch 32 --max-delay 2ms

dragoman serve app.py --reload --reload-dir app

dragoman serve app.py:Classifier --processes 4 --log-format json

dragoman serve models/ --host 0.0.0.0 --auth-store accounts.db
"""


@with_settings
def serve(
    flags: Flags,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET...",
            help="Model files, folders of models, module:Class or app.py:Class.",
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
    reload: Annotated[
        bool,
        typer.Option(
            "--reload", help="Start again whenever a source or configuration file changes: for development."
        ),
    ] = False,
    reload_dir: Annotated[
        list[Path] | None,
        typer.Option(
            "--reload-dir",
            metavar="FOLDER",
            help="Folder that --reload watches, again and again for more; without it those of the targets.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let everybody do everything, as with --auth-mode off.")
    ] = False,
) -> None:
    """Serve models until SIGTERM or Ctrl-C."""
    if insecure:
        flags = flags | {"auth.mode": "off"}
    settings = load(config, os.environ, flags).settings
    if not targets and not settings.management.store:
        raise Failure("serve what?", hint=_suggestion(), code=USAGE)
    if reload or reload_dir:
        raise typer.Exit(_serve_again(targets or [], reload_dir or [], settings))
    raise typer.Exit(run(targets or [], settings, strict))


def run(targets: list[str], settings: Settings, strict: bool) -> int:
    """Serve until a signal. Returns the exit code."""
    if (
        os.getcwd() not in sys.path
    ):  # for module:Class; a script's path starts with the script's folder instead
        sys.path.insert(0, os.getcwd())
    from dragoman.log import configure

    configure(settings.log)
    for variable in secret_variables(os.environ):  # models and their processes have no use for them
        os.environ.pop(variable, None)
    settings = _with_key(settings)
    serve_them = _serve_many if settings.server.processes > 1 else _serve
    return serve_them(targets, settings, strict)


def _serve_again(targets: list[str], folders: list[Path], settings: Settings) -> int:
    from dragoman.cli.reload import folders_of, serve_again
    from dragoman.log import configure

    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise Failure(f"--reload-dir {missing[0]} is no folder", code=USAGE)
    configure(settings.log)
    return serve_again(sys.argv[1:], folders or folders_of(targets))


def _serve(targets: list[str], settings: Settings, strict: bool) -> int:
    from dragoman.app import App
    from dragoman.running import run as run_loop
    from dragoman.running import serve

    app = App.serving(targets, settings)

    def started(app: App) -> None:
        present(app.url, app.overview(), strict, app.grpc_address, app.access is not None)

    return run_loop(serve(app, started))


def _serve_many(targets: list[str], settings: Settings, strict: bool) -> int:
    from dragoman.supervisor import supervise
    from dragoman.users.access import asks_for_keys

    keys = asks_for_keys(settings)
    return supervise(targets, settings, lambda url, models, grpc: present(url, models, strict, grpc, keys))


def _with_key(settings: Settings) -> Settings:
    """The settings to start with; a key that had to be made is shown, at once: it is kept nowhere."""
    from dragoman.transport import address
    from dragoman.transport.origin import is_loopback
    from dragoman.users.access import arrange, asks_for_keys, store_of

    server, keys = settings.server, asks_for_keys(settings)
    settings, made = arrange(settings)
    if made:
        url = address.show(server.host, server.port, tls=bool(server.tls_cert)) if server.port else ""
        banner.show_key(made, url, kept=bool(store_of(settings)))
    if is_loopback(server.host):
        return settings
    if not keys and not server.tls_client_ca:
        log.warning(
            "nobody is asked for a key: whoever can reach this server may do everything",
            extra={"host": server.host},
        )
    elif keys and not server.tls_cert:
        log.warning(
            "keys travel in the clear: set server.tls_cert, or put something that speaks TLS in front",
            extra={"host": server.host},
        )
    return settings


def present(url: str, models: banner.Overview, strict: bool, grpc: str = "", keys: bool = False) -> None:
    """Tell how the start went. Raises Failure where there is nothing to go on with."""
    failed = [model for model in models if model["state"] == "FAILED"]
    if failed and (strict or len(failed) == len(models)):
        which = (
            "no model could be loaded" if len(failed) == len(models) else "not every model could be loaded"
        )
        reasons = "".join(f"\n  {model['name']}: {model['reason']}" for model in failed)
        raise Failure(which + reasons)
    banner.show(url, models, grpc, keys)
    event = "some models failed, not ready" if failed else "ready"
    log.log(
        logging.WARNING if failed else logging.INFO,
        event,
        extra={
            "url": url,
            **({"grpc": grpc} if grpc else {}),
            "models": len(models) - len(failed),
            "failed": [model["name"] for model in failed],
        },
    )


def _suggestion() -> str:
    if Path("models").is_dir():
        return "dragoman serve models/"
    return "name a model file, a folder of models or module:Class, as in: dragoman serve iris.onnx"
