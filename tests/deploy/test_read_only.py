"""A file system that can't be written to but in one place, as our containers have it."""

import os
import subprocess

import pytest

from tests.cli.running import DRAGOMAN, Server

#: Everything read-only; what the container has as /tmp is a folder here.
SHELL = 'mount --make-rprivate / && mount -o remount,bind,ro / && mount -t tmpfs tmpfs "$TMPDIR" && exec "$@"'
MODEL = """
import numpy as np


class Model:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"wrote": ("BYTES", [1])}

    def predict(self, x):
        try:
            open("/written", "w")
        except OSError as error:
            return {"wrote": np.array([error.strerror.encode()], object)}
        return {"wrote": np.array([b"yes"], object)}
"""


class Contained(Server):
    command = ("unshare", "--mount", "sh", "-c", SHELL, "sh", *DRAGOMAN, "kserve")
    free = ("--http_port=0", "--grpc_port=0")


def can_unshare() -> bool:
    try:
        done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and os.geteuid() == 0


@pytest.mark.skipif(not can_unshare(), reason="only root may make mounts of its own")
def test_nothing_is_written_but_in_tmp(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "models" / "model.py").write_text(MODEL)
    writable = str(tmp_path / "tmp")
    places = {
        "TMPDIR": writable,
        "HOME": writable,
        "XDG_CACHE_HOME": writable,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with Contained(tmp_path, "--model_name=m", f"--model_dir={tmp_path / 'models'}", **places) as server:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
        status, answer = server.ask("POST", "/v2/models/m/infer", body)
        assert (status, b"Read-only file system" in answer) == (200, True), answer
        assert server.stop() == 0
    assert not list((tmp_path / "tmp").iterdir())
