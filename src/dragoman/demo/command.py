"""The demo itself: build the examples, serve them, ask them in every dialect, show the answers, keep serving."""

import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dragoman import __version__, log
from dragoman.config import LogSettings, ServerSettings, Settings
from dragoman.demo.dialects import Dialect, Message
from dragoman.demo.examples import EXAMPLES, Example, Question, build
from dragoman.errors import ConfigError
from dragoman.tensors import datatype_of
from dragoman.testing import TestClient
from dragoman.types import Tensor

DEFAULT_PORT = ServerSettings().port


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a question in a dialect; ``seconds`` is the whole round trip on a warm connection."""

    example: Example
    dialect: Dialect
    question: Question
    message: Message
    text: str
    seconds: float

    @property
    def right(self) -> bool:
        return self.text == self.question.answer


def run(*, once: bool = False, host: str = "127.0.0.1", port: int | None = None) -> int:
    """Run the demo. Returns the exit code: 1 when an answer is wrong. With ``once`` it stops after the answers."""
    console = Console()
    log.configure(LogSettings(level="warning"))
    chosen = [example for example in EXAMPLES if not example.missing]
    _tell_missing(console, [example for example in EXAMPLES if example.missing])
    folder = _folder()
    with console.status("making the example models (once)"):
        models = build(folder, chosen)
    with _serve(console, models, host, 0 if once and port is None else port) as server:
        answers = [answer for example in chosen for answer in ask(server.app.port, example)]
        console.print(_table(answers))
        _tell_curl(console, server.url, folder, answers)
        wrong = [answer for answer in answers if not answer.right]
        if wrong:
            console.print(f"[bold red]{len(wrong)} of {len(answers)} answers are wrong[/]")
        else:
            console.print(f"[bold green]all {len(answers)} answers are right[/]")
        if not once:
            console.print(f"\nserving on [bold]{server.url}[/] (open it in a browser); Ctrl-C stops")
            _wait_for_signal()
    return 1 if wrong else 0


def ask(port: int, example: Example) -> list[Answer]:
    """Every question to this model in every dialect that it has, over one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    answers = []
    try:
        for dialect in example.dialects:
            for question in example.ask():
                inputs = [Tensor(n, datatype_of(data.dtype), data) for n, data in question.inputs.items()]
                message = dialect.write(example.name, inputs)
                _send(connection, message)  # the first one warms up whatever is cold
                start = time.perf_counter()
                status, headers, body = _send(connection, message)
                seconds = time.perf_counter() - start
                text = (
                    example.read(dialect.read(headers, body))
                    if status == 200
                    else f"{status} {body.decode()}"
                )
                answers.append(Answer(example, dialect, question, message, text, seconds))
    finally:
        connection.close()
    return answers


def _send(connection: HTTPConnection, message: Message) -> tuple[int, dict[str, str], bytes]:
    connection.request("POST", message.path, message.body, dict(message.headers))
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def _serve(console: Console, models: Sequence[Path], host: str, port: int | None) -> TestClient:
    settings = Settings(server=ServerSettings(host=host), log=LogSettings(level="warning"))
    targets = [str(model) for model in models]
    if port is not None:
        return TestClient(*targets, settings=settings, port=port)
    if _taken(host, DEFAULT_PORT):
        console.print(f"[yellow]port {DEFAULT_PORT} is in use: taking a free one[/]")
        return TestClient(*targets, settings=settings)
    return TestClient(*targets, settings=settings, port=DEFAULT_PORT)


def _taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _folder() -> Path:
    """Where the examples are kept between runs; another version of Dragoman makes its own."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "dragoman" / f"demo-{__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"can't make the folder for the example models: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return folder


def _table(answers: Sequence[Answer]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title, justify in (
        ("model", "left"),
        ("dialect", "left"),
        ("input", "left"),
        ("answer", "left"),
        ("ms", "right"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    shown = ""
    for answer in answers:
        name = answer.example.name
        text = (
            answer.text if answer.right else f"[bold red]{answer.text}[/], expected {answer.question.answer}"
        )
        row = (
            name if name != shown else "",
            answer.dialect.name,
            answer.question.text,
            text,
            f"{answer.seconds * 1e3:.2f}",
        )
        table.add_row(*row)
        shown = name
    return table


def _tell_curl(console: Console, url: str, folder: Path, answers: Sequence[Answer]) -> None:
    """One line to paste for each model and dialect; bodies that would not fit on a line come from a file."""
    requests = folder.parent / f"{folder.name}-requests"
    requests.mkdir(exist_ok=True)
    console.print("\n[dim]the same by hand[/]")
    console.print(f"cd {shlex.quote(str(requests))}", soft_wrap=True, highlight=False, markup=False)
    told = set()
    for answer in answers:
        key = (answer.example.name, answer.dialect.name)
        if key in told:
            continue
        told.add(key)
        file = requests / f"{answer.example.name}-{answer.dialect.name.replace(' ', '-').lower()}"
        file.write_bytes(answer.message.body)
        data = f"@{file.name}" if len(answer.message.body) > 200 else answer.message.body.decode()
        headers = "".join(
            f" -H {shlex.quote(f'{name}: {value}')}" for name, value in answer.message.headers.items()
        )
        output = " -o answer.bin" if answer.dialect.name.endswith("binary") else ""
        line = f"curl -s {url}{answer.message.path}{headers}{output} --data-binary {shlex.quote(data)}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print()


def _tell_missing(console: Console, missing: Sequence[Example]) -> None:
    for extra in dict.fromkeys(example.extra for example in missing):
        examples = [example for example in missing if example.extra == extra]
        names = ", ".join(example.name for example in examples)
        packages = ", ".join(sorted({name for example in examples for name in example.missing}))
        console.print(f"[yellow]left out: {names} (not installed: {packages})[/]")
        console.print(f"[yellow]to see them: pip install 'dragoman\\[{extra}]'[/]\n")


def _wait_for_signal() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(3600):
        pass
