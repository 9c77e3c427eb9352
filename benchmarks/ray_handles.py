"""What it costs to have a model's work done elsewhere: the same model on a thread, in a process, and as a Ray replica.

The model does nothing, so that what is left is the way to it and back, over HTTP and through the model's queue. One
client asks one request after the other; then 32 clients ask at once.

    python benchmarks/ray_handles.py
"""

import argparse
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient

MODEL = """
class Model:
    inputs = {"x": ("FP32", [-1, -1])}
    outputs = {"y": ("FP32", [-1, -1])}
    batched = True

    def predict(self, x):
        return {"y": x}
"""
CLIENTS = 32
SMALL = {"x": np.zeros((1, 16), np.float32)}
BIG = {"x": np.zeros((1, 262_144), np.float32)}


def sequential(ask: Callable[[], object], times: int) -> tuple[float, float]:
    """Median and 95th percentile of one request after the other, in milliseconds."""
    for _ in range(times // 5):
        ask()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        took.append((time.perf_counter() - start) * 1e3)
    took.sort()
    return took[len(took) // 2], took[int(len(took) * 0.95)]


def at_once(ask: Callable[[], object], times: int) -> float:
    """Requests a second of 32 clients."""

    def client() -> None:
        for _ in range(times // CLIENTS):
            ask()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times // CLIENTS * CLIENTS / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="A thread, a process and a Ray replica, side by side.")
    parser.add_argument("--times", type=int, default=1000)
    times = parser.parse_args().times
    print("| where | 64 bytes: p50, p95 ms | 1 MiB: p50, p95 ms | 32 clients: requests/s |")
    print("|---|--:|--:|--:|")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.py"
        path.write_text(MODEL)
        for where in ("thread", "process", "ray"):
            settings = Settings(models=ModelSettings(execution=where, max_batch=64, replica_cpus=0.5))
            with TestClient(f"echo={path}", settings=settings) as client:
                few = sequential(partial(client.infer, "echo", SMALL), times)
                many = sequential(partial(client.infer, "echo", BIG), times // 5)
                rate = at_once(partial(client.infer, "echo", SMALL), times * 2)
            print(f"| {where} | {few[0]:.1f}, {few[1]:.1f} | {many[0]:.1f}, {many[1]:.1f} | {rate:.0f} |")


if __name__ == "__main__":
    main()
