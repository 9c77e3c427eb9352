"""Models are replaced, broken and rolled back while requests of every dialect come in: not one of them may fail.

The short form takes some ten seconds. The long one, 50 reloads and 20 rollbacks in 120 seconds, runs where the
environment says ``LONG_TESTS=1``.
"""

import itertools
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from dragoman.config import LimitSettings, ModelSettings, ServerSettings, Settings
from dragoman.protocols.kserve_v2.client import decode_response, encode_request
from dragoman.testing import TestClient
from dragoman.types import Tensor
from tests.lifecycle.load import Kind, OpenLoop
from tests.lifecycle.truth import Truth
from tests.repository.archives import manifest, zipped

LONG = os.environ.get("LONG_TESTS") == "1"
RELOADS, ROLLBACKS, SECONDS = (50, 20, 120.0) if LONG else (15, 6, 10.0)
RATE = 200.0
SEED = 22

MODEL = """
import numpy as np
from dragoman.types import InferRequest

class Model:
    def load(self):
        {load}

    def predict(self, request: InferRequest):
        return {{"answer": np.array([b"{answer}"], object)}}
"""
HANDLER = "def handle(data, context):\n    return ['{answer}'] * len(data) if data else None\n"
#: Ways to break a model: it raises, it is no Python, and it ends the process that loads it.
BROKEN = ("raise ValueError('no')", "a model", "import os; os._exit(3)")


class Operator:
    """Changes the models ``plain`` (a Python class in versions) and ``packed`` (an archive) as operators do."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.server: TestClient
        self.random = random.Random(SEED)
        self.revision = 0
        self.done: Counter[str] = Counter()
        (models / "plain").mkdir(parents=True)
        (models / "plain/model.toml").write_text("versions = 'latest:3'\nqueue_size = 100000")
        self.answers = {1: self.write(1)}  # what each version answers
        self.pack(self.next())
        self.plain, self.packed = Truth([str(self.answers[1])]), Truth([str(self.revision)])

    @property
    def default(self) -> int:
        return int(self.server.call(lambda: self.server.app.engine.registry.default("plain")))

    def next(self) -> int:
        self.revision += 1
        return self.revision

    def write(self, version: int, load: str = "pass") -> int:
        folder = self.models / "plain" / str(version)
        folder.mkdir(exist_ok=True)
        answer = self.next()
        staged = folder / ".model.py"
        staged.write_text(MODEL.format(load=load, answer=answer))
        staged.replace(folder / "model.py")
        return answer

    def pack(self, answer: int, cut: int | None = None) -> None:
        files = {"handler.py": HANDLER.format(answer=answer).encode()}
        archive = zipped({"MAR-INF/MANIFEST.json": manifest("packed", f"{answer}.0"), **files})
        (self.models / ".packed.mar").write_bytes(archive[:cut])
        (self.models / ".packed.mar").replace(self.models / "packed.mar")

    def load(self, name: str, status: int = 200) -> None:
        answer = self.server.request("POST", f"/v2/repository/models/{name}/load", b"{}")
        assert answer.status == status, answer.body

    # What may happen.

    def deploy(self) -> None:
        """A new version, made the default."""
        start, version = monotonic(), max(self.answers) + 1
        self.answers[version] = self.write(version)
        self.load("plain")
        self.server.call(lambda: self.server.app.manager.set_default("plain", str(version), "test"))
        self.plain.became(str(self.answers[version]), start)

    def replace(self) -> None:
        """The default version in place."""
        start, version = monotonic(), self.default
        self.answers[version] = self.write(version)
        self.load("plain")
        self.plain.became(str(self.answers[version]), start)

    def repack(self) -> None:
        """An archive with a new version."""
        start, answer = monotonic(), self.next()
        self.pack(answer)
        self.load("packed")
        self.packed.became(str(answer), start)

    def break_version(self) -> None:
        """A new version that can't be loaded, and is taken away."""
        version = max(self.answers) + 1
        self.write(version, self.random.choice(BROKEN))
        self.load("plain", 400)
        shutil.rmtree(self.models / "plain" / str(version))

    def break_in_place(self) -> None:
        """The default version can't be loaded again, and is repaired."""
        version = self.default
        file = self.models / "plain" / str(version) / "model.py"
        text = file.read_text()
        self.write(version, self.random.choice(BROKEN))
        self.load("plain", 400)
        file.write_text(text)
        self.load("plain")

    def break_archive(self) -> None:
        """An archive that ends too early."""
        self.pack(self.next(), cut=self.random.choice([0, 1, 100, -30, -1]))
        self.load("packed", 400)

    def roll_back(self) -> None:
        """The default before this one."""
        start = monotonic()
        version = self.server.call(lambda: self.server.app.manager.roll_back("plain", "test"))
        self.plain.became(str(self.answers[int(version)]), start)

    def work(self, start: float) -> None:
        """All reloads and rollbacks, at their times or as soon as the one before them is done."""
        also = itertools.cycle([self.replace, self.repack])
        bad = itertools.cycle([self.break_version, self.break_in_place, self.break_archive])
        jobs: list[Callable[[], None]] = []
        for _ in range(RELOADS // 5):
            jobs += [
                self.deploy,
                self.roll_back,
                self.deploy,
                self.roll_back,
                self.deploy,
                next(also),
                next(bad),
            ]
        for turn, job in enumerate(jobs):
            sleep(max(0.0, start + SECONDS * (turn + 1) / (len(jobs) + 1) - monotonic()))
            job()
            self.done[job.__name__] += 1
        sleep(max(0.0, start + SECONDS - monotonic()))


def post(path: str, body: bytes, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def kinds() -> list[Kind]:
    """A request of each dialect."""
    x = Tensor("x", "FP32", np.zeros(1, np.float32))
    plain = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0]}]}).encode()
    binary, headers = encode_request([x], ["answer"])

    def binary_answer(body: bytes, found: dict[str, str]) -> str:
        (tensor,) = decode_response(body, found.get("inference-header-content-length"))
        return tensor.data[0].decode()

    return [
        Kind("v1", "plain", post("/v1/models/plain:predict", b'{"instances": [0]}'),
             lambda body, _: json.loads(body)["predictions"][0]),
        Kind("v2 JSON", "plain", post("/v2/models/plain/infer", plain),
             lambda body, _: json.loads(body)["outputs"][0]["data"][0]),
        Kind("v2 binary", "plain", post("/v2/models/plain/infer", b"".join([binary]), **headers), binary_answer),
        Kind("TorchServe", "plain", post("/predictions/plain", b"x"), lambda body, _: body.decode()),
        Kind("TorchServe archive", "packed", post("/predictions/packed", b"x"), lambda body, _: body.decode()),
    ]  # fmt: skip


def test_no_request_fails_and_each_is_answered_by_a_default_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    operator = Operator(tmp_path / "models")
    # How much fits into queues is tested elsewhere: here a machine that stalls for a second must not matter.
    settings = Settings(
        server=ServerSettings(control="explicit", load_model=("*",)),
        limits=LimitSettings(requests=100_000),
        models=ModelSettings(queue_size=100_000),
    )
    with TestClient(str(operator.models), settings=settings) as server:
        operator.server = server
        with OpenLoop(server.app.port, kinds(), RATE) as load:
            start = monotonic()
            operator.work(start)
            seconds = monotonic() - start
        failed = [outcome for outcome in load.outcomes if outcome.error]
        truths = {"plain": operator.plain, "packed": operator.packed}
        wrong = [
            each for each in load.outcomes if not each.error and not truths[each.kind.model].explains(each)
        ]
        assert failed == []
        assert wrong == []
        assert len(load.outcomes) >= RATE * seconds * 0.99
        assert operator.done["roll_back"] == ROLLBACKS
        assert operator.done.total() == RELOADS + ROLLBACKS
        told = Counter(outcome.kind.name for outcome in load.outcomes)
        assert max(told.values()) - min(told.values()) <= 1
        assert server.call(lambda: server.app.engine.ready)
