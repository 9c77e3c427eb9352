"""Runs h2load and reads what it found: one gRPC call, again and again. Knows no server and no case."""

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MISSING: Final = "needs h2load: apt install nghttp2-client"

_DONE: Final = re.compile(r"finished in ([\d.]+)(ms|s), ")
_REQUESTS: Final = re.compile(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed")


@dataclass(frozen=True, slots=True)
class Load:
    """What h2load found: answers, and in how many seconds."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def installed() -> bool:
    return shutil.which("h2load") is not None


def run(
    port: int, path: str, message: bytes, connections: int, streams: int, seconds: int, core: int
) -> Load:
    """Every stream of every connection asks again as soon as it is answered. Raises RuntimeError for any error.

    It doesn't look at gRPC's status: the caller has made sure that the call is a good one.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(struct.pack(">BI", 0, len(message)) + message)
        body.flush()
        command = ["taskset", "-c", str(core), "h2load", "-t1", f"-c{connections}", f"-m{streams}"]
        command += [f"--duration={seconds}", "--warm-up-time=0", "-d", str(Path(body.name))]
        command += [
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            f"http://127.0.0.1:{port}{path}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finished, requests = _DONE.search(done.stdout), _REQUESTS.search(done.stdout)
    if finished is None or requests is None or int(requests[3]) or not int(requests[2]):
        raise RuntimeError(f"h2load failed: {done.stdout}{done.stderr}")
    unit = 1000 if finished[2] == "ms" else 1
    return Load(int(requests[2]), float(finished[1]) / unit)
