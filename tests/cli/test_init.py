"""``dragoman init`` writes what serves at once."""

import json

from tests.cli.running import Server, dragoman


def test_what_it_writes_serves_at_once(tmp_path):
    done = dragoman("init", "start", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote start/app.py" in done.stdout
    source = (tmp_path / "start" / "app.py").read_text()
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    with Server(tmp_path, "start/app.py") as server:
        status, body = server.ask("POST", "/predict", {"texts": ["hello world", "one"]})
        assert (status, json.loads(body)["data"]) == (200, [2, 1])
        assert json.loads(server.ask("GET", "/args/separator")[1])["data"] == {"separator": " "}
        assert server.stop() == 0


def test_several_processes_serve_it_on_one_port(tmp_path):
    assert dragoman("init", cwd=tmp_path).returncode == 0
    with Server(tmp_path, "app.py", "--processes", "2") as server:
        for _ in range(8):  # each on a connection of its own: the kernel chooses the process
            status, body = server.ask("POST", "/predict", {"texts": ["a b c"]})
            assert (status, json.loads(body)["data"]) == (200, [3])
        assert server.stop() == 0


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "app.py").write_text("mine")
    done = dragoman("init", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "app.py").read_text()) == (1, "mine")
    assert "app.py is there already" in done.stderr


def test_a_place_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    done = dragoman("init", "file", cwd=tmp_path)
    assert done.returncode == 1
    assert "can't be written" in done.stderr
