from dataclasses import replace

import pytest

from dragoman.config import ModelSettings
from dragoman.profiles.torchserve.serving import resolve
from dragoman.profiles.torchserve.settings import read
from dragoman.protocols.torchserve.management import Registration
from dragoman.repository.model_yaml import read_settings

TABLE = {
    "minWorkers": 2,
    "maxWorkers": 3,
    "batchSize": 8,
    "maxBatchDelay": 50,
    "responseTimeout": 30,
    "startupTimeout": 40,
}
YAML = {
    "minWorkers": 4,
    "maxWorkers": 5,
    "batchSize": 16,
    "maxBatchDelay": 7,
    "responseTimeout": 60,
    "startupTimeout": 70,
}
REQUEST = Registration(
    batch_size=32, max_batch_delay=9, initial_workers=6, response_timeout=11, startup_timeout=12
)


def read_yaml(document):
    return None if document is None else read_settings(document)


@pytest.fixture
def settings(tmp_path):
    values = {
        "default_workers_per_model": "1",
        "default_response_timeout": "90",
        "default_startup_timeout": "91",
    }
    return read({"model_store": ".", "job_queue_size": "77", **values}, tmp_path)


#: (yaml, models, request) -> (least, most, batch, delay, response, startup): each row as TorchServe 0.12 does it.
ROWS = {
    "nobody says anything": ((None, {}, None), (1, 1, 1, 100, 90, 91)),
    "the key models, at the start": ((None, TABLE, None), (2, 3, 8, 50, 30, 40)),
    "the yaml, at the start": ((YAML, {}, None), (4, 5, 16, 7, 60, 70)),
    "the yaml wins over models": ((YAML, TABLE, None), (4, 5, 16, 7, 60, 70)),
    "a request that says nothing": ((None, {}, Registration()), (1, 1, 1, 100, 90, 91)),
    "a request": ((None, {}, REQUEST), (6, 6, 32, 9, 11, 12)),
    "a request wins over models but for times": ((None, TABLE, REQUEST), (6, 6, 32, 9, 30, 40)),
    "the yaml's workers and times win over the request": ((YAML, TABLE, REQUEST), (4, 5, 32, 9, 60, 70)),
    "a yaml that is silent about times": (({"batchSize": 2}, TABLE, REQUEST), (6, 6, 32, 9, 120, 120)),
    "an empty yaml": (({}, {}, None), (1, 1, 1, 100, 120, 120)),
    "an empty yaml lets models say the batch": (({}, TABLE, None), (2, 3, 8, 50, 120, 120)),
    "workers that make no sense": (({"minWorkers": 5, "maxWorkers": 4}, {}, REQUEST), (6, 6, 32, 9, 120, 120)),
    "only one of the two": (({"minWorkers": 5}, {}, None), (1, 1, 1, 100, 120, 120)),
    "what is no number": (
        ({"batchSize": "4", "maxBatchDelay": True, "responseTimeout": 1.5, "minWorkers": None}, {}, None),
        (1, 1, 1, 100, 120, 120),
    ),
    "no workers": ((None, {}, Registration(initial_workers=0)), (0, 0, 1, 100, 90, 91)),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_whose_word_counts(settings, row):
    said, expected = ROWS[row]
    serving = resolve(read_yaml(said[0]), *said[1:], settings)
    assert (
        serving.min_workers,
        serving.max_workers,
        serving.batch_size,
        serving.max_batch_delay,
        serving.response_timeout,
        serving.startup_timeout,
    ) == expected


def test_the_queue_is_the_yamls_or_the_configured_one(settings):
    assert resolve(read_yaml({}), {}, None, settings).queue_size == 77
    assert resolve(read_yaml({"jobQueueSize": 5}), {}, None, settings).queue_size == 5
    assert resolve(read_yaml({"jobQueueSize": 5, "useJobTicket": True}), {}, None, settings).queue_size == 0


def test_dragomans_words_for_it(settings):
    serving = resolve(read_yaml({**YAML, "clientTimeoutInMills": 1500}), {}, None, settings)
    assert serving.settings(ModelSettings(runtime="torchserve")) == ModelSettings(
        runtime="torchserve",
        instances=4,
        max_instances=5,
        max_batch=16,
        max_delay=0.007,
        queue_size=77,
        timeout=1.5,
        response_timeout=60.0,
        load_timeout=70.0,
    )


def test_a_model_without_workers_refuses_and_one_that_may_have_some_wakes(settings):
    none = resolve(None, {}, Registration(initial_workers=0), settings)
    said = none.settings(ModelSettings())
    assert (said.instances, said.max_instances, said.wake_timeout) == (0, 0, 0.0)
    assert replace(none, max_workers=2).settings(ModelSettings()).wake_timeout > 0
