"""Instances and memory of real processes under real requests."""

import threading
import time
from dataclasses import replace

import numpy as np
import tritonclient.grpc as triton

from dragoman.config import ModelSettings, ServerSettings, Settings
from dragoman.testing import TestClient

SLOW = """
import time

class Slow:
    inputs = {"x": ("FP64", [1])}
    outputs = {"y": ("FP64", [1])}

    def predict(self, x):
        time.sleep(0.05)
        return {"y": x}
"""

BIG = """
class Big:
    inputs = {"x": ("FP64", [1])}
    outputs = {"y": ("FP64", [1])}

    def __init__(self):
        self.weights = bytearray(b"x" * 60_000_000)

    def predict(self, x):
        return {"y": x}
"""


def until(condition, seconds=30):
    """Wait for a condition. The bound is generous: nothing here is about speed."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_instances_follow_a_real_load_up_and_down(tmp_path):
    (tmp_path / "app.py").write_text(SLOW)
    settings = ModelSettings(max_instances=3, target_delay=0.05, idle_timeout=1.0)
    stop, failures = threading.Event(), []

    with TestClient(f"{tmp_path / 'app.py'}:Slow", settings=Settings(models=settings)) as client:
        model = client.app.engine.find("Slow")

        def ask(number):
            while not stop.is_set():
                try:
                    answer = client.infer("Slow", {"x": np.full(1, number)})
                    assert answer["y"][0] == number
                except Exception as error:
                    failures.append(error)

        threads = [threading.Thread(target=ask, args=(float(number),)) for number in range(12)]
        for thread in threads:
            thread.start()
        until(lambda: client.call(lambda: model.instances) == 3)
        stop.set()
        for thread in threads:
            thread.join()
        until(lambda: client.call(lambda: model.instances) == 1)
        assert failures == []
        assert client.infer("Slow", {"x": np.ones(1)})["y"][0] == 1.0


def test_memory_that_was_measured_stays_within_its_budget(tmp_path):
    (tmp_path / "app.py").write_text(BIG)
    for name in ("a", "b", "c", "d"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.py").write_text(BIG)
        (tmp_path / "models" / name / "model.toml").write_text('entry = "model.py:Big"\n')
    budget = 200 << 20
    settings = Settings(
        server=replace(ServerSettings(), memory_budget=budget),
        models=ModelSettings(instances=0, idle_timeout=1000.0),
    )
    with TestClient(str(tmp_path / "models"), settings=settings) as client:
        engine = client.app.engine

        def used():
            return sum(model.memory for model in client.call(lambda: list(engine.registry)))

        until(lambda: used() <= budget)
        for name in ("a", "b", "c", "d", "a", "c", "b", "a", "d"):
            assert client.infer(name, {"x": np.ones(1)})["y"][0] == 1.0
            assert used() <= budget
            assert client.call(lambda name=name: engine.find(name).instances) == 1
        awake = [model.name for model in client.call(lambda: list(engine.registry)) if model.instances]
        assert 1 <= len(awake) < 4


def test_a_model_that_sleeps_is_ready_for_every_dialect(tmp_path):
    (tmp_path / "app.py").write_text(SLOW)
    settings = Settings(models=ModelSettings(instances=0, idle_timeout=0.2))
    with TestClient(f"{tmp_path / 'app.py'}:Slow", settings=settings) as client:
        model = client.app.engine.find("Slow")
        until(lambda: client.call(lambda: model.instances) == 0)
        paths = ("/readyz", "/v2/health/ready", "/v2/models/Slow/ready", "/v1/models/Slow")
        assert [client.request("GET", path).status for path in paths] == [200] * 4
        with triton.InferenceServerClient(client.grpc) as asking:
            assert asking.is_server_ready()
            assert asking.is_model_ready("Slow")
        assert client.call(lambda: model.instances) == 0  # nobody woke it
        assert client.infer("Slow", {"x": np.ones(1)})["y"][0] == 1.0
