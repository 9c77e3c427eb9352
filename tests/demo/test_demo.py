import json
import os
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from dragoman.demo import command as running
from dragoman.demo.dialects import DIALECTS
from dragoman.demo.examples import EXAMPLES, build

NAMED = {example.name: example for example in EXAMPLES}
SPREAD, WORDS, PHOTO = NAMED["spread"], NAMED["words"], NAMED["photo"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_every_example_answers_rightly_in_every_dialect(cache):
    command = [sys.executable, "-m", "dragoman", "demo", "--once"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "COLUMNS": "160"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    present = [example for example in EXAMPLES if not example.missing]
    assert {example.name for example in EXAMPLES if example.missing} <= {"photo"}
    questions = sum(len(example.ask()) * len(example.dialects) for example in present)
    assert f"all {questions} answers are right" in done.stdout
    for example in present:
        assert re.search(rf"^{example.name}\s", done.stdout, re.MULTILINE), (
            f"{example.name} is not in the table"
        )


@pytest.mark.torch
@pytest.mark.skipif(bool(PHOTO.missing), reason="needs the packages of the extra demo-torch")
def test_photographs_are_recognized_by_a_handler_in_an_archive(cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(running, "EXAMPLES", (PHOTO,))
    assert running.run(once=True) == 0
    printed = capsys.readouterr().out
    for dialect in ("TorchServe", "KServe v1", "v2 binary"):
        assert re.search(rf"{dialect} +coffee.png +espresso ", printed)
        assert re.search(rf"{dialect} +chelsea.png +house cat ", printed)


def test_an_archive_is_asked_in_the_dialect_of_its_handler(cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(running, "EXAMPLES", (WORDS,))
    assert running.run(once=True) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^words +TorchServe +the Zen of Python +21 lines, 144 words ", printed, re.MULTILINE)
    assert re.search(r"^curl -s http://[0-9.:]+/predictions/words ", printed, re.MULTILINE)


def test_models_are_made_once_and_whole_or_not_at_all(tmp_path):
    models = build(tmp_path, (SPREAD, WORDS))
    assert [model.name for model in models] == ["spread", "words.mar"]
    made = [model.stat().st_mtime_ns for model in models]
    assert build(tmp_path, (SPREAD, WORDS)) == models
    assert [model.stat().st_mtime_ns for model in models] == made

    def fail(folder):
        (folder / "model.py").touch()
        raise RuntimeError("no more disk")

    with pytest.raises(RuntimeError):
        build(tmp_path, (replace(SPREAD, name="broken", make=fail),))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["spread", "words.mar"]


def test_the_curl_lines_work_as_they_stand(cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(running, "EXAMPLES", (SPREAD, WORDS))
    outputs = []

    def curl():
        """While the demo serves, paste what it printed into a shell."""
        printed = capsys.readouterr().out
        folder = re.search(r"^cd (\S+)", printed, re.MULTILINE)[1]
        for line in re.findall(r"^curl .*", printed, re.MULTILINE):
            command = [word for word in shlex.split(line) if word not in ("-o", "answer.bin")]
            outputs.append(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)

    monkeypatch.setattr(running, "_wait_for_signal", curl)
    assert running.run(port=0) == 0
    assert len(outputs) == len(DIALECTS) + 1
    assert outputs[0] == b'{"predictions":[{"mean":5.0,"deviation":2.0}]}'
    assert b'"data":[5.0]' in outputs[1]
    assert outputs[2].startswith(b'{"model_name":"spread"')
    assert json.loads(outputs[3]) == {"lines": 21, "words": 144}


def test_a_wrong_answer_is_shown_and_fails_the_command(cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    liar = replace(SPREAD, read=lambda outputs: "mean 4, deviation 2")
    monkeypatch.setattr(running, "EXAMPLES", (liar,))
    assert running.run(once=True) == 1
    assert "3 of 3 answers are wrong" in capsys.readouterr().out


def test_what_is_not_installed_is_left_out_with_the_way_to_get_it(cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    absent = replace(SPREAD, name="absent", needs=("no_such_package",))
    bigger = replace(SPREAD, name="bigger", needs=("no_big_package",), extra="demo-torch")
    monkeypatch.setattr(running, "EXAMPLES", (SPREAD, absent, bigger))
    assert running.run(once=True) == 0
    printed = capsys.readouterr().out
    assert "left out: absent (not installed: no_such_package)" in printed
    assert "pip install 'dragoman[demo]'" in printed
    assert "left out: bigger (not installed: no_big_package)" in printed
    assert "pip install 'dragoman[demo-torch]'" in printed


def test_a_taken_port_is_no_reason_to_give_up(cache, monkeypatch, capsys):

    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(running, "EXAMPLES", (SPREAD,))
    monkeypatch.setattr(running, "_wait_for_signal", lambda: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(running, "DEFAULT_PORT", taken.getsockname()[1])
        assert running.run() == 0
    assert "is in use: taking a free one" in capsys.readouterr().out
