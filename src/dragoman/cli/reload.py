"""``dragoman serve --reload``: a server that is started again whenever a file of its makers changes. For development.

Only the named folders count, and in them only what people write: a log that grows starts nothing again.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from dragoman.supervisor.child import die_with

log = logging.getLogger("dragoman")

#: Seconds between two looks.
INTERVAL: Final = 0.5
#: What people write that changes what is served.
SUFFIXES: Final = frozenset({".py", ".toml", ".pbtxt", ".yaml", ".yml", ".properties"})
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
#: Options of this command that the server itself is not to see.
_FLAG, _FLAG_WITH_VALUE = "--reload", "--reload-dir"

Snapshot = Mapping[str, tuple[int, int]]


def serve_again(arguments: Sequence[str], folders: Iterable[Path]) -> int:
    """Run ``dragoman`` with these arguments until a signal, again after each change. Returns its last exit code."""
    watched = sorted({folder.resolve() for folder in folders})
    command = [sys.executable, "-m", "dragoman", *without_reload(arguments)]
    log.info("watching for changes", extra={"folders": [str(folder) for folder in watched]})
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.set())
    seen, code = take_snapshot(watched), 0
    while not stopping.is_set():
        server = _start(command)
        seen = _wait_for_change(watched, seen, stopping, server)
        code = _stop(server)
    return code


def without_reload(arguments: Sequence[str]) -> list[str]:
    """The arguments of the server alone."""
    kept: list[str] = []
    values = iter(arguments)
    for argument in values:
        if argument == _FLAG_WITH_VALUE:
            next(values, None)
        elif argument != _FLAG and not argument.startswith(f"{_FLAG_WITH_VALUE}="):
            kept.append(argument)
    return kept


def folders_of(targets: Iterable[str]) -> list[Path]:
    """The folders that the targets lie in; the current one for a class of a module."""
    found = []
    for target in targets:
        path = Path(target.partition(":")[0])
        found.append(path if path.is_dir() else path.parent if path.suffix else Path())
    return found


def take_snapshot(folders: Iterable[Path]) -> Snapshot:
    """When each file that counts was last written, and its size, by path."""
    return {entry.path: _stamp(entry) for folder in folders for entry in _files(str(folder))}


def changed(before: Snapshot, now: Snapshot) -> list[str]:
    """The files that are new, gone, or not what they were."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:  # it has just gone
        return
    if any(entry.name == "pyvenv.cfg" for entry in found):
        return
    for entry in found:
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield entry


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        found = entry.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """In a group of its own: Ctrl-C reaches us, and we tell it once."""
    return subprocess.Popen(command, process_group=0, preexec_fn=partial(die_with, os.getpid()))


def _wait_for_change(
    folders: Sequence[Path], seen: Snapshot, stopping: threading.Event, server: "subprocess.Popen[bytes]"
) -> Snapshot:
    """Returns what is there now, once that differs. A server that has ended by itself waits for that, too."""
    ended = False
    while not stopping.wait(INTERVAL):
        now = take_snapshot(folders)
        if files := changed(seen, now):
            names = [os.path.relpath(file) for file in files[:3]]
            log.info("starting again", extra={"changed": names, "files": len(files)})
            return now
        if not ended and server.poll() is not None:
            ended = True
            log.warning("the server has ended; it starts again after the next change")
    return seen


def _stop(server: "subprocess.Popen[bytes]") -> int:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    code = server.wait()
    return 128 - code if code < 0 else code
