"""``dragoman torchserve``: TorchServe's own command line, files and words, over Dragoman's engine.

Its flags are read by argparse, as TorchServe's are: ``--models`` takes any number of words.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from dragoman import __version__
from dragoman.cli.failure import FAILED

if TYPE_CHECKING:
    from dragoman.profiles.torchserve.pidfile import PidFile
    from dragoman.profiles.torchserve.settings import CommandLine, Configuration

log = logging.getLogger("dragoman.torchserve")

EXAMPLES = """
Examples:

dragoman torchserve --start --model-store model_store --models densenet161.mar --disable-token-auth

dragoman torchserve --foreground --ts-config config.properties

dragoman torchserve --stop
"""

#: Click leaves every word to argparse.
CONTEXT: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

VERSION: Final = "0.12.0"  # of the TorchServe whose command line this is
PID_FILE: Final = ".model_server.pid"
LOG_FILE: Final = "ts_log.log"
#: Seconds that ``--stop`` waits: accepted requests are answered first.
PATIENCE: Final = 150.0

Report = Callable[[], None]


def torchserve(context: typer.Context) -> None:
    """Serve archives as TorchServe does: its flags, config.properties, ports, keys and answers."""
    raise typer.Exit(run(context.args))


def run(arguments: Sequence[str]) -> int:
    """What the command does with its words; returns the exit code. Raises ConfigError."""
    from dragoman.profiles.torchserve.pidfile import PidFile

    given = _parser().parse_args(arguments)
    pid_file = PidFile(Path(tempfile.gettempdir(), PID_FILE))
    if given.version:
        print(f"TorchServe Version is {VERSION}\nDragoman {__version__}")
        return 0
    if given.stop:
        return _stop(pid_file)
    return _start(given, pid_file)


def _stop(pid_file: "PidFile") -> int:
    holder = pid_file.holder()
    if holder is None:
        print("TorchServe is not currently running.")
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGTERM)
    if not holder.wait(PATIENCE):
        print("TorchServe is still stopping: accepted requests are answered first.")
        return FAILED
    print("TorchServe has stopped.")
    return 0


def _start(given: argparse.Namespace, pid_file: "PidFile") -> int:
    from dragoman.profiles.torchserve.settings import Missing, load

    directory = Path.cwd()
    try:
        _check(given)
        configuration = load(_command_line(given), os.environ, directory)
    except Missing as missing:
        print(missing)
        return FAILED
    if not pid_file.take():
        print("TorchServe is already running, please use torchserve --stop to stop TorchServe.")
        return FAILED
    if given.foreground:
        return _serve(configuration, directory, pid_file, _say_started)
    return _detach(configuration, directory, pid_file)


def _serve(configuration: "Configuration", directory: Path, pid_file: "PidFile", report: Report) -> int:
    from dragoman.log import configure
    from dragoman.profiles.torchserve.launcher import TorchServe, hide_variables
    from dragoman.profiles.torchserve.store import find_models
    from dragoman.running import run, serve

    pid_file.write()
    try:
        configure(configuration.settings().log)
        _tell(configuration)
        hide_variables(configuration.hidden_variables, os.environ)
        app = TorchServe(configuration, find_models(configuration), directory)
        try:
            return run(serve(app, lambda app: report()))
        finally:
            app.remove_keys()  # a second signal has not let it stop by itself
    finally:
        pid_file.release()


def _tell(configuration: "Configuration") -> None:
    """What the operator should know of the configuration."""
    if configuration.file:
        log.info("configuration", extra={"file": configuration.file})
    for warning in configuration.warnings:
        log.warning(warning)
    for note in configuration.notes:
        log.info(note)


def _detach(configuration: "Configuration", directory: Path, pid_file: "PidFile") -> int:
    """Leave the server to itself once it has started; its output goes to the log file.

    Runs in two processes from the fork on: the caller's returns when the other has started, or failed to.
    """
    log_file = directory / os.environ.get("LOG_LOCATION", "logs") / LOG_FILE
    log_file.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    before = os.fstat(output).st_size
    started, starting = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(started)
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)

        def report() -> None:
            _say_started()
            with contextlib.suppress(BrokenPipeError):  # the caller had no patience
                os.write(starting, b"1")
            os.close(starting)

        return _serve(configuration, directory, pid_file, report)
    os.close(starting)
    pid_file.close()
    try:
        told = os.read(started, 1)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        raise
    if told:
        _say_started()
        return 0
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with log_file.open("rb") as file:
        file.seek(max(before, file.seek(0, os.SEEK_END) - 4096))
        print(file.read().decode("utf-8", "replace"), end="", file=sys.stderr)
    return code if code > 0 else FAILED


def _say_started() -> None:
    with contextlib.suppress(BrokenPipeError):
        print("Model server started.", flush=True)


def _check(given: argparse.Namespace) -> None:
    """Raise Missing for files and folders that are named and not there."""
    from dragoman.profiles.torchserve.settings import Missing

    if given.log_config and not os.path.isfile(given.log_config):
        raise Missing(f"--log-config file not found: {given.log_config}")
    temporary = os.environ.get("TEMP")
    if temporary and not os.path.isdir(temporary):
        raise Missing(f"Invalid temp directory: {temporary}, please check TEMP environment variable.")
    if given.workflow_store and not os.path.isdir(given.workflow_store):
        raise Missing(f"--workflow-store directory not found: {given.workflow_store}")


def _command_line(given: argparse.Namespace) -> "CommandLine":
    from dragoman.profiles.torchserve.settings import CommandLine

    return CommandLine(
        ts_config=given.ts_config,
        model_store=given.model_store,
        workflow_store=given.workflow_store,
        models=None if given.models is None else tuple(given.models),
        no_config_snapshots=given.no_config_snapshots,
        disable_token_auth=given.disable_token_auth,
        enable_model_api=given.enable_model_api,
        cpp_log_config=given.cpp_log_config,
        plugins_path=given.plugins_path,
    )


def _parser() -> argparse.ArgumentParser:
    """TorchServe's own flags."""
    parser = argparse.ArgumentParser(
        prog="dragoman torchserve",
        description="Serve model archives with TorchServe's flags, files, ports and answers.",
        epilog="See docs/torchserve.md.",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("-v", "--version", action="store_true", help="print the versions")
    action.add_argument("--start", action="store_true", help="start the server; so does no flag at all")
    action.add_argument("--stop", action="store_true", help="stop the server, accepted requests answered")
    add = parser.add_argument
    add("--ts-config", metavar="FILE", help="config.properties")
    add("--model-store", metavar="DIR", help="folder of model archives (needed, here or in the file)")
    add("--workflow-store", metavar="DIR", help="folder of workflow archives (the model store)")
    add(
        "--models",
        nargs="+",
        metavar="[NAME=]LOCATION",
        help="archives in the model store to start with, or all",
    )
    add("--log-config", metavar="FILE", help="accepted; there is no log4j here")
    add("--cpp-log-config", metavar="FILE", help="accepted; there is no C++ backend here")
    add("--foreground", action="store_true", help="stay in the foreground; logs go to standard error")
    add("--no-config-snapshots", "--ncs", action="store_true", help="read and write no snapshots")
    add("--plugins-path", "--ppath", metavar="DIR", help="accepted; Java plugins can't run here")
    add("--disable-token-auth", "--dt", action="store_true", help="ask nobody for a key")
    add(
        "--enable-model-api",
        action="store_true",
        help="let requests register and remove models and workflows",
    )
    return parser
