"""``dragoman serve --reload``: the real command, started again when a source changes and not when a log does."""

import json
import os
import signal
import time

import pytest

from dragoman.cli.reload import changed, folders_of, take_snapshot, without_reload
from tests.cli.running import LIMIT, Server

APP = """
import dragoman


@dragoman.service(envelope=False)
class App:
    def predict(self, x: int) -> int:
        return VALUE
"""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["serve", "a.py", "--reload"], ["serve", "a.py"]),
        (["serve", "--reload-dir", "src", "a.py", "--port", "1"], ["serve", "a.py", "--port", "1"]),
        (["serve", "--reload", "--reload-dir=src", "a.py"], ["serve", "a.py"]),
    ],
)
def test_the_server_itself_does_not_see_the_option(given, kept):
    assert without_reload(given) == kept


def test_without_folders_those_of_the_targets_are_watched(tmp_path):
    targets = [str(tmp_path), str(tmp_path / "app.py"), f"{tmp_path}/b/app.py:Class", "module:Class"]
    assert [str(folder) for folder in folders_of(targets)] == [
        str(tmp_path),
        str(tmp_path),
        f"{tmp_path}/b",
        ".",
    ]


def test_only_what_people_write_counts(tmp_path):
    for name in (
        "app.py",
        "model.toml",
        "server.log",
        ".hidden.py",
        "__pycache__/app.py",
        "venv/lib.py",
        "deep/er.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    before = take_snapshot([tmp_path])
    assert sorted(os.path.relpath(path, tmp_path) for path in before) == [
        "app.py",
        "deep/er.py",
        "model.toml",
    ]
    (tmp_path / "server.log").write_text("more")
    assert take_snapshot([tmp_path]) == before
    (tmp_path / "app.py").write_text("another")
    (tmp_path / "deep" / "er.py").unlink()
    (tmp_path / "new.py").touch()
    now = take_snapshot([tmp_path])
    assert [os.path.relpath(path, tmp_path) for path in changed(before, now)] == [
        "app.py",
        "deep/er.py",
        "new.py",
    ]


def write(folder, value):
    (folder / "app.py").write_text(APP.replace("VALUE", value))


def answer(server, count):
    """What the service says after it was ready for the ``count``-th time."""
    server.url = server.wait_for("ready", count=count)["url"]
    return json.loads(server.ask("POST", "/predict", {"x": 1})[1])


def test_a_change_of_the_source_starts_the_server_again_and_a_log_does_not(tmp_path):
    write(tmp_path, "x + 1")
    with Server(tmp_path, "app.py", "--reload", "--reload-dir", ".") as server:
        assert answer(server, 1) == 2
        (tmp_path / "app.log").write_text("a line")
        write(tmp_path, "x + 41")
        assert answer(server, 2) == 42
        assert [event["changed"] for event in server.events if event["event"] == "starting again"] == [
            ["app.py"]
        ]
        assert server.stop(signal.SIGTERM) == 0


def test_a_source_that_is_broken_is_waited_for(tmp_path):
    write(tmp_path, "x + 1")
    with Server(tmp_path, "app.py", "--reload") as server:
        assert answer(server, 1) == 2
        (tmp_path / "app.py").write_text("class App: pass")
        server.wait_for("the server has ended; it starts again after the next change")
        write(tmp_path, "-x")
        assert answer(server, 2) == -1
        assert server.stop(signal.SIGINT) == 0


def test_no_server_is_left_when_the_watching_process_is_killed(tmp_path):
    write(tmp_path, "x + 1")
    with Server(tmp_path, "app.py", "--reload") as server:
        server.wait_for("ready")
        server.process.kill()
        server.process.wait()
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                server.ask("GET", "/livez")
            except OSError:
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)  # until the kernel has ended it


def test_a_folder_that_is_none_is_refused(tmp_path):
    with Server(tmp_path, "app.py", "--reload-dir", "nowhere", wait=False) as server:
        assert server.process.wait(LIMIT) == 2
        assert "--reload-dir nowhere is no folder" in server.log
