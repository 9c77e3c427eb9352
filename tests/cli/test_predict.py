import base64
import io
import json

import numpy as np
import pytest

from tests.cli.running import dragoman


@pytest.fixture
def predict(server, tmp_path):
    """Ask a model of the shared server; gives the outputs back by name."""

    def ask(*arguments, given=None):
        done = dragoman("predict", *arguments, "--url", server.url, "--json", cwd=tmp_path, given=given)
        assert done.returncode == 0, done.stderr
        return {each["name"]: each["data"] for each in json.loads(done.stdout)["outputs"]}

    return ask


def test_json_on_the_command_line(predict):
    assert predict("Double", "[[1, 2, 3]]") == {"y": [[2, 4, 6]], "total": [6]}
    assert predict("Sum", '{"a": [[1, 2]], "b": [[3, 4]]}') == {"sum": [[4, 6]]}


def test_one_row_needs_no_second_bracket(predict):
    assert predict("Double", "[1, 2, 3]")["y"] == [[2, 4, 6]]


def test_rows_of_objects_and_whole_requests_are_understood(predict):
    assert predict("Sum", '[{"a": [1, 2], "b": [3, 4]}, {"a": [0, 0], "b": [1, 1]}]')["sum"] == [
        [4, 6],
        [1, 1],
    ]
    assert predict("Double", '{"instances": [[1, 2, 3]]}')["total"] == [6]
    v2 = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'
    assert predict("Double", v2)["total"] == [6]


def test_a_text_is_a_text(predict):
    assert predict("Shout", "hello there") == {"text": ["HELLO THERE"]}
    assert predict("Shout", '["a", "b"]') == {"text": ["A", "B"]}


def test_files_are_read_by_their_suffix(predict, tmp_path):
    rows = np.arange(6).reshape(2, 3)
    (tmp_path / "x.json").write_text(json.dumps(rows.tolist()))
    (tmp_path / "x.jsonl").write_text("[0, 1, 2]\n[3, 4, 5]\n")
    (tmp_path / "x.csv").write_text("p,q,r\n0,1,2\n3,4,5\n")
    np.save(tmp_path / "x.npy", rows)
    np.savez(tmp_path / "x.npz", x=rows)
    for name in ("x.json", "x.jsonl", "x.csv", "x.npy", "x.npz"):
        assert predict("Double", name)["total"] == [3, 12], name


def test_another_file_is_its_bytes(predict, tmp_path):
    (tmp_path / "photo.bin").write_bytes(b"ab\xff")
    assert predict("Shout", "photo.bin") == {"text": [{"b64": base64.b64encode(b"AB\xff").decode()}]}


def test_standard_input_is_read_as_what_it_looks_like(predict):
    npy = io.BytesIO()
    np.save(npy, np.ones((1, 3)))
    for given in (b"[[1, 1, 1]]", b"[1, 1, 1]\n[1, 1, 1]\n", npy.getvalue()):
        assert predict("Double", "-", given=given)["total"][0] == 3
    assert predict("Shout", "-", given=b"hello") == {"text": ["HELLO"]}
    assert predict("Double", "-", "--format", "csv", given=b"1,1,1\n")["total"] == [3]


def test_rows_are_split_at_the_models_limit_and_as_wished(predict, tmp_path):
    rows = np.arange(33).reshape(11, 3)
    np.save(tmp_path / "x.npy", rows)
    for more in ((), ("--rows-per-request", "2"), ("--rows-per-request", "100")):
        assert predict("Double", "x.npy", *more)["y"] == (2 * rows).tolist()


def test_one_output_can_be_asked_for(predict):
    assert predict("Double", "[[1, 2, 3]]", "--output", "total") == {"total": [6]}


def test_people_see_a_table(server):
    done = dragoman("predict", "Double", "[[1, 2, 3], [0, 0, 0.5]]", "--url", server.url)
    assert done.returncode == 0
    header, _, first, second = done.stdout.split("\n")[1:5]
    assert header.split() == ["y", "FP32[2,3]", "total", "FP32[2]"]
    assert first.split() == ["2", "4", "6", "6"]
    assert second.split() == ["0", "0", "1", "0.5"]


def test_a_model_is_asked_without_a_server(folder):
    done = dragoman(
        "predict", "Sum", '{"a": [1, 2], "b": [3, 4]}', "--model-path", "app.py:Sum", "--json", cwd=folder
    )
    assert json.loads(done.stdout)["outputs"][0]["data"] == [[4, 6]]
    assert done.stderr == ""
    done = dragoman("predict", "Broken", "1", "--model-path", "app.py:Broken", cwd=folder)
    assert done.returncode == 1
    assert "no weights" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["Nobody", "[1]"], 1, "unknown model"),
        (["Double", "[[1, 2]]"], 1, "unexpected shape"),
        (["Double", '{"z": [[1, 2, 3]]}'], 1, "the model has no input 'z'\nhint: its inputs: x FP32[?,3]"),
        (["Double", "[[1, 2, 3], [1]]"], 1, "the rows differ in length"),
        (["Double", '[["a", "b", "c"]]'], 1, "does not fit x FP32[?,3]"),
        (["Sum", "[[1, 2, 3]]"], 1, "the model has 2 inputs"),
        (["Double", "[[1, 2"], 2, "the input is not JSON"),
        (["Double", "rows.csv"], 2, "there is no file 'rows.csv'"),
        (["Double", "[1]", "--format", "xml"], 2, "unknown format 'xml'"),
        (["Double", "[[1, 2, 3]]", "--output", "z"], 1, "'z'"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(server, arguments, code, words):
    done = dragoman("predict", *arguments, "--url", server.url)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2
