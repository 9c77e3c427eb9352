"""A model's ``requirements.txt`` in an environment of its own, built once and kept.

Knows how to ask uv (or pip, where there is no uv) for it, not who imports from it. Building runs what the
packages bring along to build themselves: only for models whose code would be run anyway.

::

    <root>/<digest>/lib/python3.11/site-packages   of the requirements, and of this Python
    <root>/<digest>.lock                           held while it is being built
"""

import hashlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dragoman.errors import ConfigError
from dragoman.repository.cache import discard, locked
from dragoman.repository.manifest import read_limited

log = logging.getLogger("dragoman.repository")

Progress = Callable[[str], None]

MOST_BYTES: Final = 1 << 20  # of a requirements.txt
LAST_LINES: Final = 20  # of a tool that failed
#: A line that may mean files beside the requirements: an option, a path, an archive.
LOCAL: Final = re.compile(
    r"^\s*(-|\.|/|file:|[^#]*@\s*file:|[^#:@]*/)|^[^#]*\.(whl|zip|gz)\s*$", re.MULTILINE
)
#: uv has its own names for the settings that people have for pip.
PIP_TO_UV: Final = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}
#: What would lead the tool to this server's own packages.
FORGOTTEN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


@dataclass(frozen=True, slots=True)
class Tool:
    """How an empty environment is made in a directory, and how requirements get into it."""

    make: Callable[[Path], Sequence[str]]
    install: Callable[[Path, Path], Sequence[str]]


def build_environment(
    requirements: Path,
    root: Path,
    *,
    model: str,
    progress: Progress = log.info,
    timeout: float = 1800.0,
    tool: Tool | None = None,
) -> Path:
    """The ``site-packages`` with what the file asks for, built below ``root`` where it isn't there yet.

    Every line the tool writes goes to ``progress``. ``timeout`` is in seconds. Raises ConfigError when the
    tool fails: TorchServe's words as the message, the tool's last lines as the hint. Blocks, maybe for minutes.
    """
    digest = digest_of(requirements)
    made, packages = root / digest, site_packages(root / digest)
    with locked(root / f"{digest}.lock"):
        if not packages.is_dir():
            discard(made)
            building = root / f".{digest}-new"
            discard(building)  # of a process that was killed
            chosen = tool or find_tool()
            try:
                for command in (chosen.make(building), chosen.install(building, requirements)):
                    _run(command, requirements.parent, model, progress, timeout)
                building.rename(made)
            except BaseException:
                discard(building)
                raise
    return packages


def digest_of(requirements: Path) -> str:
    """What two files share when one environment does for both: the text, this Python, and files it may mean."""
    text = read_limited(requirements, MOST_BYTES)
    digest = hashlib.sha256()
    for part in _parts(requirements, text):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def site_packages(environment: Path) -> Path:
    """Where an environment made for this Python keeps its packages."""
    base = str(environment)
    return Path(sysconfig.get_path("purelib", "venv", {"base": base, "platbase": base}))


def find_tool(environ: Mapping[str, str] = os.environ) -> Tool:
    """uv on the PATH, or the one installed beside this server; else Python's own venv and pip."""
    found = shutil.which("uv", path=environ.get("PATH", ""))
    if found:
        return uv(found)
    if importlib.util.find_spec("uv") is not None:
        return uv(sys.executable, "-m", "uv")
    return Tool(
        make=lambda place: [sys.executable, "-m", "venv", str(place)],
        install=lambda place, file: [
            str(_python(place)), "-m", "pip", "install", "--no-input", "--progress-bar=off", "-r", file.name,
        ],
    )  # fmt: skip


def uv(*command: str) -> Tool:
    """The tool that is called by ``command``."""
    return Tool(
        make=lambda place: [*command, "venv", "--no-project", "--python", sys.executable, str(place)],
        install=lambda place, file: [
            *command, "pip", "install", "--python", str(_python(place)), "-r", file.name
        ],
    )  # fmt: skip


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _parts(requirements: Path, text: bytes) -> Iterator[bytes]:
    yield f"{sys.version} {sysconfig.get_platform()} {platform.machine()} {sys.prefix}".encode()
    yield text
    if LOCAL.search(text.decode(errors="replace")):
        for path in sorted(requirements.parent.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(requirements.parent).as_posix().encode()
                with path.open("rb") as file:
                    yield hashlib.file_digest(file, "sha256").digest()


def _run(command: Sequence[str], directory: Path, model: str, progress: Progress, timeout: float) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,  # so that ./wheels/x.whl in the file is the model's own
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # so that all of it can be ended
        )
    except OSError as error:
        raise _failed(model, f"can't run {Path(command[0]).name!r}: {error.strerror}") from error
    late = threading.Event()
    clock = threading.Timer(timeout, _end, (process, late))
    clock.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                last.append(line.rstrip())
                progress(line.rstrip())
        code = process.wait()
    except BaseException:
        _end(process, late)
        process.wait()
        raise
    finally:
        clock.cancel()
    if code or late.is_set():
        told = [f"it took more than {timeout:g} s"] if late.is_set() else []
        raise _failed(model, "\n".join([*told, *last]))


def _failed(model: str, why: str) -> ConfigError:
    return ConfigError(f"Custom pip package installation failed for model {model}", hint=why)


def _end(process: "subprocess.Popen[str]", late: threading.Event) -> None:
    late.set()
    with suppress(ProcessLookupError, PermissionError):  # the leader may be gone, its children not
        os.killpg(process.pid, signal.SIGKILL)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name not in FORGOTTEN}
    for pip, own in PIP_TO_UV.items():
        if pip in kept:
            kept.setdefault(own, kept[pip])
    return kept | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
