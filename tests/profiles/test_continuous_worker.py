"""A handler that generates step by step, in a worker of its own: requests join what runs, and leave it."""

import http.client
import json
import os
import signal
import threading

import pytest

from dragoman.testing import TestClient
from tests.profiles.archives import write_archive
from tests.profiles.running import until

pytest.importorskip("yaml")

#: As TorchServe's examples of continuous batching have it: a cache by request id, a criterion for each request.
#: What a request wants is in its body: so many ``steps``, or to run ``until`` so many are in one step.
HANDLER = """
import json
import os
import time

from ts.torch_handler.base_handler import BaseHandler


class Generator(BaseHandler):
    def initialize(self, context):
        self.context = context
        context.cache = {}
        self.initialized = True

    def preprocess(self, data):
        time.sleep(0.01)
        cache, ids = self.context.cache, list(self.context.request_ids.values())
        for known in [known for known in cache if known not in ids]:
            del cache[known]
        for known, row in zip(ids, data):
            if known not in cache:
                cache[known] = {"step": 0, **row["body"]}
            elif row:
                raise AssertionError("what was sent is given once")
        return [cache[known] for known in ids]

    def inference(self, data, *args, **kwargs):
        for each in data:
            each["step"] += 1
            each["most"] = max(each.get("most", 0), len(data))
            if each.get("crash"):
                os._exit(3)
            if each.get("fail"):
                raise ValueError("as asked")
            time.sleep(each.get("hang", 0))
        return data

    def postprocess(self, data):
        self.context.stopping_criteria = [self.criterion(each) for each in data]
        return [f"{each['step']}/{len(data)}/{each['most']}/{os.getpid()} " for each in data]

    def criterion(self, each):
        def stop(text):
            if each.get("whole"):
                return None
            if "until" in each:
                return int(text.split("/")[1]) == each["until"]
            return each["step"] >= each["steps"]
        return stop
"""
YAML = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: {size}\ncontinuousBatching: true\nresponseTimeout: 2\n"


@pytest.fixture
def serve(tmp_path):
    clients = []

    def serve(size=4):
        archive = write_archive(tmp_path, "words", HANDLER, yaml=YAML.format(size=size))
        clients.append(TestClient(str(archive)))
        return clients[-1].__enter__()

    yield serve
    for client in clients:
        client.__exit__(None, None, None)


def ask(client, **wanted):
    return client.post("/predictions/words", wanted)


def steps_of(answer):
    """(step, requests in it, most of them so far) for each part."""
    return [tuple(map(int, part.split("/")[:3])) for part in answer.body.decode().split()]


class Stream:
    """An answer that is read part by part."""

    def __init__(self, client, **wanted):
        self._connection = http.client.HTTPConnection("127.0.0.1", client.app.port, timeout=60)
        body, kind = json.dumps(wanted), {"Content-Type": "application/json"}
        self._connection.request("POST", "/predictions/words", body, kind)
        self._response = self._connection.getresponse()

    def part(self):
        return self._response.read1(100).decode()

    def rest(self):
        """All there is to come; fails where the answer is cut off."""
        try:
            return self._response.read().decode()
        finally:
            self.leave()

    def leave(self):
        self._response.close()
        self._connection.close()


def test_an_answer_is_a_stream_of_its_steps(serve):
    answer = ask(serve(), steps=3)
    assert (answer.status, answer.headers["transfer-encoding"]) == (200, "chunked")
    assert steps_of(answer) == [(1, 1, 1), (2, 1, 1), (3, 1, 1)]


def test_one_step_and_a_criterion_that_says_nothing_are_whole_answers(serve):
    client = serve()
    for wanted in ({"steps": 1}, {"whole": True}):
        answer = ask(client, **wanted)
        assert "transfer-encoding" not in answer.headers
        assert steps_of(answer) == [(1, 1, 1)]


def test_a_request_joins_the_batch_that_runs_and_the_first_goes_on(serve):
    client = serve()
    first = Stream(client, until=2)
    assert first.part().startswith("1/1/1/")
    second = ask(client, steps=3)  # without it the first would never end
    assert first.rest().split()[-1].split("/")[1] == "2"
    assert [step for step, _, _ in steps_of(second)] == [1, 2, 3]
    assert steps_of(second)[0][1] == 2


def test_no_more_than_the_batch_size_run_at_once_and_others_take_free_places(serve):
    client = serve(size=2)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(client, steps=4))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status for answer in answers] == [200] * 6
    assert max(most for answer in answers for _, _, most in steps_of(answer)) == 2


def test_a_client_that_leaves_drops_out_of_the_batch(serve):
    client = serve()
    gone = Stream(client, until=99)
    gone.part()
    assert steps_of(ask(client, steps=1)) == [(1, 2, 2)]
    gone.leave()
    until(lambda: steps_of(ask(client, steps=1)) == [(1, 1, 1)])
    until(lambda: client.call(lambda: client.app.engine.find("words").stats.running) == 0)


def test_a_step_that_fails_fails_those_in_it_and_the_next_ones_are_answered(serve):
    client = serve()
    running = Stream(client, until=99)
    running.part()
    failed = ask(client, fail=True)
    assert (failed.status, failed.json()["message"]) == (503, "Prediction failed")
    with pytest.raises(http.client.IncompleteRead):
        running.rest()
    assert steps_of(ask(client, steps=2)) == [(1, 1, 1), (2, 1, 1)]


def test_a_death_fails_everything_that_ran_and_the_next_worker_answers(serve):
    client = serve()
    running = Stream(client, until=99)
    worker = int(running.part().split("/")[3])
    died = ask(client, crash=True)
    assert died.status == 500
    assert died.json()["message"].startswith("Worker died.")
    with pytest.raises(http.client.IncompleteRead):
        running.rest()
    answer = ask(client, steps=1)
    assert answer.status == 200
    assert int(answer.body.split(b"/")[3]) != worker


def test_the_time_limit_is_a_steps_not_an_answers(serve):
    client = serve()
    slow = ask(client, steps=5, hang=0.6)  # longer than the limit of two seconds in all
    assert len(steps_of(slow)) == 5
    assert ask(client, steps=1, hang=30).status == 504
    assert ask(client, steps=1).status == 200


def test_an_unload_lets_the_running_batch_end(serve):
    client = serve()
    stream = Stream(client, steps=20)
    stream.part()
    threading.Thread(target=client.__exit__, args=(None, None, None)).start()
    assert len(stream.rest().split()) == 19


#: A sum for each sequence, as TorchServe's example of sequences with continuous batching: an odd number is answered in
#: a stream until something ends it, an even one at once, 0 ends the sequence and -1 its streams.
ACCUMULATOR = """
import time

from ts.torch_handler.base_handler import BaseHandler


class Accumulator(BaseHandler):
    def initialize(self, context):
        self.context = context
        self.sums, self.streams, self.cancelled = {}, {}, set()
        self.initialized = True

    def handle(self, data, context):
        time.sleep(0.01)
        answers, criteria = [], []
        for place, row in enumerate(data):
            sequence, known = context.get_sequence_id(place), context.get_request_id(place)
            context.set_response_header(place, context.header_key_sequence_id, sequence)
            if row:
                number = int(row["body"])
                if number == -1:
                    self.cancelled.add(sequence)
                else:
                    self.sums[sequence] = self.sums.get(sequence, 0) + number
                if number == 0:
                    context.set_response_header(place, context.header_key_sequence_end, sequence)
                self.streams[known] = number % 2 == 1 and number > 0
            answers.append(f"{self.sums.pop(sequence) if row and number == 0 else self.sums.get(sequence)} ")
            streams = self.streams[known]
            criteria.append(lambda text, s=sequence, streams=streams: s in self.cancelled if streams else None)
        context.stopping_criteria = criteria
        return answers
"""
SEQUENCES = """
minWorkers: 2
maxWorkers: 2
batchSize: 2
maxBatchDelay: 1
sequenceMaxIdleMSec: 600000
maxSequenceJobQueueSize: 10
sequenceBatching: true
continuousBatching: true
"""


def add(client, sequence, number):
    headers = {"Content-Type": "text/plain", "ts_request_sequence_id": sequence}
    return client.request("POST", "/predictions/sums", str(number).encode(), headers)


def test_a_sequence_is_served_while_its_former_answer_still_streams(tmp_path):
    archive = write_archive(tmp_path, "sums", ACCUMULATOR, yaml=SEQUENCES)
    with TestClient(str(archive)) as client:
        streams = {}

        def stream(sequence):
            streams[sequence] = add(client, sequence, 1)

        threads = [threading.Thread(target=stream, args=(f"s{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        stats = client.call(lambda: client.app.engine.find("sums").stats)
        until(lambda: client.call(lambda: stats.running) == 4)  # all places of both workers
        for number in range(4):
            answer = add(client, f"s{number}", 2)
            assert (answer.body, answer.headers["ts_request_sequence_id"]) == (b"3 ", f"s{number}")
            assert add(client, f"s{number}", -1).body == b"3 "
        for thread in threads:
            thread.join(60)
        assert {answer.body.split()[-1] for answer in streams.values()} == {b"3"}
        assert add(client, "s0", 0).headers["ts_request_sequence_end"] == "s0"
        assert add(client, "s0", 2).body == b"2 "  # it had ended, and begins anew


def test_a_worker_that_dies_is_told_to_a_sequence_once(tmp_path):
    code = "import os\ndef handle(data, context): return [str(os.getpid())] * len(data or ())\n"
    archive = write_archive(tmp_path, "sums", code, yaml=SEQUENCES)
    with TestClient(str(archive)) as client:
        worker = int(add(client, "a", 1).body)
        assert add(client, "a", 1).body == str(worker).encode()
        os.kill(worker, signal.SIGKILL)
        until(lambda: (lost := add(client, "a", 1)).status != 200 and "has gone" in lost.json()["message"])
        assert add(client, "a", 1).status == 200
