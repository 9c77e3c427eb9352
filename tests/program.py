"""A user's program that is a server, run as a process of its own: where it listens, what it says, how it ends."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 60


class Program:
    """``dragoman run PROGRAM`` on free ports, while the ``with`` block runs. ``log`` is what it has said so far."""

    def __init__(
        self,
        program: Path | str,
        *flags: str,
        options: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        ports = () if "--http_port" in flags else ("--http_port", "0", "--grpc_port", "0")
        self.command = [
            sys.executable, "-m", "dragoman", "run", *options, str(PROGRAMS / program), *ports, *flags
        ]  # fmt: skip
        self.environment = environment
        self.log: list[str] = []
        self._said = threading.Condition()

    def __enter__(self) -> "Program":
        self.process = subprocess.Popen(
            self.command,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(self.environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.wait_for(r'"url": "([^"]+)"')
        self.grpc = self.wait_for(r'"grpc": "([^"]+)"')
        self.wait_for("serving()")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_for(self, pattern: str) -> str:
        """What the pattern's group matched in what the program has said, or says yet."""

        def found() -> bool:
            return self.process.poll() is not None or any(re.search(pattern, line) for line in self.log)

        with self._said:
            assert self._said.wait_for(found, PATIENCE), f"no {pattern!r} in {self.log}"
            for line in self.log:
                if match := re.search(pattern, line):
                    return match[match.lastindex or 0]
        raise AssertionError(f"the program has ended: {self.log}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.log.append(line)
                self._said.notify_all()


def fields(line: str) -> dict[str, object]:
    """The fields of a line of the log."""
    found: dict[str, object] = json.loads(line)
    return found
