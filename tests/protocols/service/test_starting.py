"""A service is not asked before it has started, and tidies up when it goes."""

import json
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from shutil import copy

import pytest

from dragoman.testing import TestClient

APPS = Path(__file__).parent / "apps"


def ask(port, method, path, body=b'{"number": 1}'):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("retry-after"), json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def slow(tmp_path):
    """A server whose service waits for a file, and where it is."""
    file = copy(APPS / "slow.py", tmp_path / "slow.py")
    client = TestClient(str(file))
    thread = threading.Thread(target=client.__enter__)
    thread.start()
    deadline = time.monotonic() + 60
    while not getattr(getattr(client, "app", None), "port", 0):
        assert time.monotonic() < deadline
    yield client, thread, tmp_path
    (tmp_path / "go").touch()
    thread.join()
    if not (tmp_path / "shut").exists():
        client.__exit__()


def test_before_its_startup_has_ended_every_path_of_it_is_503(slow):
    client, thread, folder = slow
    port = client.app.port
    for method, path in [
        ("POST", "/predict"),
        ("GET", "/"),
        ("POST", "/services/slow/predict"),
        ("GET", "/docs"),
    ]:
        status, retry, document = ask(port, method, path)
        assert (status, retry) == (503, "1")
        assert "starting" in document["detail"]
    (folder / "go").touch()
    thread.join()
    assert ask(port, "POST", "/predict")[2]["data"] == 2
    client.__exit__()
    assert (folder / "shut").read_text() == "down"


def test_a_startup_that_fails_says_where(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(
        "import dragoman\n@dragoman.service\nclass Broken:\n    def startup(self):\n        1 / 0\n"
        "    def predict(self, x: int) -> int:\n        return x\n"
    )
    with (
        pytest.raises(RuntimeError, match=r"Broken.startup failed at broken.py:5: ZeroDivisionError"),
        TestClient(str(file)),
    ):
        pass


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("def predict(self, x: 'Nowhere') -> int: ...", "the hints of .*predict can't be read: name 'Nowhere'"),
        ("def predict(self, *x: int) -> int: ...", "can't be asked by name"),
        ("def predict(self): ...", "the service has no endpoint"),
        ("@dragoman.endpoint('/{y}')\n    def predict(self, x: int) -> int: ...", "has no parameter 'y' of its path"),
        ("@dragoman.endpoint(batch=True)\n    def predict(self, x: int) -> int: ...", "predict can't be batched"),
        (
            "@dragoman.endpoint('/a')\n    def one(self, x: int) -> int: ...\n"
            "    @dragoman.endpoint('/a')\n    def two(self, x: int) -> int: ...",
            "one and two both answer POST /a",
        ),
    ],
)  # fmt: skip
def test_hints_that_make_no_endpoint_are_found_when_it_is_loaded(tmp_path, method, reason):
    file = tmp_path / "wrong.py"
    file.write_text(f"import dragoman\n@dragoman.service\nclass Wrong:\n    {method}\n")
    with pytest.raises(RuntimeError, match=reason), TestClient(str(file)):
        pass


def test_a_file_with_two_services_asks_which(tmp_path):
    file = tmp_path / "two.py"
    one = "@dragoman.service\nclass {}:\n    def predict(self, x: int) -> int:\n        return x\n"
    file.write_text("import dragoman\n" + one.format("A") + one.format("B"))
    with pytest.raises(RuntimeError, match="the file has several services: A, B"), TestClient(str(file)):
        pass
    with TestClient(f"{file}:B") as client:
        assert client.post("/predict", {"x": 1}).json()["data"] == 1
