"""Models that let no request wait: useJobTicket in their archive's configuration."""

import threading

import pytest

from tests.profiles.archives import write_archive
from tests.profiles.running import INFERENCE, serving, until

HANDLER = """
import os
import time


def handle(data, context):
    if data is None:
        return None
    folder = bytes(data[0]["body"]).decode()
    if folder:
        open(os.path.join(folder, "begun"), "w").close()
        while not os.path.exists(os.path.join(folder, "enough")):
            time.sleep(0.005)
    return ["answered"]
"""
NO_WORKER = (
    'Model "ticket" has no worker to serve inference request. Please use scale workers API to add workers. '
    "If this is a sequence inference, please check if it is closed, or expired; or exceeds "
    "maxSequenceJobQueueSize"
)


def test_a_request_that_no_worker_is_free_for_is_refused_at_once(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "store").mkdir()
    yaml = "minWorkers: 1\nmaxWorkers: 1\nuseJobTicket: true\njobQueueSize: 10\n"
    write_archive(tmp_path / "store", "ticket", HANDLER, yaml=yaml)
    with serving(tmp_path, disable_token_authorization="true") as server:
        answers = []

        def ask(body=b""):
            return server.ask(INFERENCE, "/predictions/ticket", "POST", body=body)

        first = threading.Thread(target=lambda: answers.append(ask(str(tmp_path).encode())))
        first.start()
        try:
            until((tmp_path / "begun").exists)
            refused = ask()
        finally:
            (tmp_path / "enough").touch()
            first.join(60)
        assert refused.status == 503
        assert refused.json == {"code": 503, "type": "ServiceUnavailableException", "message": NO_WORKER}
        assert (answers[0].status, answers[0].body) == (200, b"answered")
        assert until(lambda: ask().status == 200)  # the worker is free a moment after its answer has gone
