"""Runs wrk and reads what it found. Knows no server and no case."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MISSING: Final = "the benchmarks need wrk: apt install wrk (or https://github.com/wg/wrk)"

#: wrk's own report is for people; this line is for us. Percentiles are in microseconds.
_DONE: Final = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\nfound {"requests":%d,"seconds":%f,"p50":%d,"p99":%d,"failed":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What wrk sends, again and again."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk found: answers, seconds, latencies in microseconds."""

    requests: int
    seconds: float
    p50: int
    p99: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def installed() -> bool:
    return shutil.which("wrk") is not None


def run(port: int, request: Request, connections: int, seconds: int, core: int) -> Load:
    """Every connection asks again as soon as it is answered. Raises RuntimeError for any error."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "load.lua")
        body.write_bytes(request.body)
        headers = "".join(
            f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}\n" for k, v in request.headers.items()
        )
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = io.open("{body}", "rb"):read("*a")\n{headers}{_DONE}'
        )
        command = ["taskset", "-c", str(core), "wrk", "--latency", "-t1", f"-c{connections}"]
        command += [f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}{request.path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("found "):
            return _read(json.loads(line.removeprefix("found ")))
    raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")


def _read(found: dict[str, float]) -> Load:
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"{found['failed']:g} requests failed, {found['requests']:g} were answered")
    return Load(int(found["requests"]), found["seconds"], int(found["p50"]), int(found["p99"]))
