"""A run over 100,000 rows that is killed three times: nothing is lost, nothing is there twice, nothing is wrong."""

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import numpy as np

from dragoman.caching.entries import decode_entry
from dragoman.caching.keys import row_keys
from dragoman.store import open_predictions
from dragoman.types import Tensor

from ..cli.running import DRAGOMAN, environment

ROWS = 100_000
KILLS = 3
LIMIT = 240.0
MODEL = """
class Double:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"y": ("FP32", [-1, 2])}
    batched = True
    fast = True

    def predict(self, x):
        return {"y": 2 * x}
"""


def progress(path):
    """Rows that the store says are done, and predictions that are there, in one moment."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            query = "SELECT (SELECT rows FROM dragoman_prediction_runs), (SELECT count(*) FROM dragoman_predictions)"
            done, kept = connection.execute(query).fetchone()
            return done or 0, kept
    except sqlite3.OperationalError:  # not made yet
        return 0, 0


def test_three_kills_lose_nothing_and_double_nothing(tmp_path):
    (tmp_path / "app.py").write_text(MODEL)
    (tmp_path / "rows.jsonl").write_text("".join(f"[{row}, {row % 7}]\n" for row in range(ROWS)))
    command = [
        *DRAGOMAN, "predict", "--model", "Double", "--input", "rows.jsonl", "--model-path", "app.py:Double",
        "--store", "p.db", "--batch", "2000",
    ]  # fmt: skip

    def start():
        return subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)

    done = 0
    for _ in range(KILLS):
        process = start()
        deadline = time.monotonic() + LIMIT
        before, (done, kept) = done, progress(tmp_path / "p.db")
        while done < before + ROWS // 10:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            done, kept = progress(tmp_path / "p.db")
            assert kept == done  # every row is another input: progress and answers are one
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done, kept = progress(tmp_path / "p.db")
        assert kept == done < ROWS
    _, told = start().communicate(timeout=LIMIT)
    assert told == (
        f"{ROWS} rows predicted, {done} of them before; the store has {ROWS} predictions of Double 1\n"
    )
    check(tmp_path / "p.db")
    _, told = start().communicate(timeout=LIMIT)
    assert told.startswith(f"all {ROWS} rows were predicted before")


def check(path):
    x = np.stack([np.arange(ROWS), np.arange(ROWS) % 7], axis=1).astype(np.float32)
    keys = [("Double", "1", key) for key in row_keys([Tensor("x", "FP32", x)])]
    with closing(open_predictions(path)) as store:
        entries = store.get_many(keys)
    answers = np.concatenate([decode_entry(entry).outputs[0].data for entry in entries if entry is not None])
    assert np.array_equal(answers, 2 * x)
    assert progress(path) == (ROWS, ROWS)


def test_what_is_written_is_in_the_order_of_the_rows(tmp_path):
    (tmp_path / "app.py").write_text(MODEL)
    rows = [[3, 1], [1, 1], [3, 1], [2, 2]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run(
        [
            *DRAGOMAN, "predict", "Double", "rows.jsonl", "--model-path", "app.py:Double", "--store", "p.db",
            "--output-file", "out.jsonl",
        ],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "4 rows predicted; the store has 3 predictions of Double 1\n"
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written == [{"y": [2 * a, 2 * b]} for a, b in rows]
