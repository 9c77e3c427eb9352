"""model-config.yaml: typed keys for the server, everything for the handler, nothing for an attacker."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.config import ModelSettings
from dragoman.repository.model_yaml import (
    ModelYaml,
    TorchServeSettings,
    apply,
    parse_yaml,
    read_model_yaml,
    read_settings,
)
from dragoman.repository.paths import InvalidArchive

FULL = """
minWorkers: 1
maxWorkers: 2
batchSize: 4
maxBatchDelay: 200
responseTimeout: 30
startupTimeout: 60
deviceType: "gpu"
deviceIds: [0, 2]
parallelType: PP
torchrun:
  nproc-per-node: 4
  OMP_NUMBER_THREADS: 2
  rdzv-endpoint: localhost:0
maxRetryTimeoutInSec: 10
clientTimeoutInMills: 500
jobQueueSize: 7
useJobTicket: true
useVenv: yes
continuousBatching: false
sequenceBatching: true
asyncCommunication: true
sequenceMaxIdleMSec: 60000
sequenceTimeoutMSec: 1000
maxSequenceJobQueueSize: 10
maxNumSequence: 3
handler:
  my_key: my_value
  nested: {a: 1}
pt2: {compile: {enable: True}}
"""


def test_every_key_has_a_field(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(FULL)
    read = read_model_yaml(tmp_path, "c.yaml")
    assert read.settings == TorchServeSettings(
        min_workers=1,
        max_workers=2,
        batch_size=4,
        max_batch_delay_ms=200,
        response_timeout_s=30,
        startup_timeout_s=60,
        job_queue_size=7,
        client_timeout_ms=500,
        max_retry_timeout_s=10,
        device_type="gpu",
        device_ids=(0, 2),
        parallel_type="pp",
        parallel_level=4,
        torchrun={
            "nnodes": 1,
            "nproc-per-node": 4,
            "rdzv-backend": "c10d",
            "OMP_NUMBER_THREADS": 2,
            "rdzv-endpoint": "localhost:0",
        },
        use_job_ticket=True,
        use_venv=True,
        continuous_batching=False,
        sequence_batching=True,
        async_communication=True,
        sequence_max_idle_ms=60_000,
        sequence_timeout_ms=1000,
        max_sequence_queue=10,
        max_sequences=3,
    )
    assert read.document["handler"] == {"my_key": "my_value", "nested": {"a": 1}}
    assert read.document["pt2"] == {"compile": {"enable": True}}
    assert read.document["minWorkers"] == 1


def test_no_file_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_model_yaml(tmp_path, "") == ModelYaml()
    assert not caplog.records
    assert read_model_yaml(tmp_path, "gone.yaml") == ModelYaml()
    assert [record.message for record in caplog.records] == ["the manifest names a file that is not there"]
    assert parse_yaml(b"", "x") == parse_yaml(b"# nothing\n", "x") == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("minWorkers", "1"),
        ("minWorkers", True),
        ("minWorkers", 1.0),
        ("minWorkers", 1 << 31),
        ("maxWorkers", -1),
        ("maxBatchDelay", -1),
        ("maxBatchDelay", None),
        ("responseTimeout", 0),
        ("startupTimeout", "2m"),
        ("deviceType", "tpu"),
        ("deviceType", 0),
        ("deviceIds", "0,1"),
        ("deviceIds", [0, "1"]),
        ("deviceIds", [True]),
        ("parallelType", "dp"),
        ("torchrun", [1]),
        ("useJobTicket", 1),
        ("useVenv", "true"),
    ],
)
def test_a_wrong_type_is_left_out_with_one_warning(
    key: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_settings({key: value, "batchSize": 3}) == TorchServeSettings(batch_size=3)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["key"] == key


@pytest.mark.parametrize(
    ("key", "value", "field", "read"),
    [
        ("minWorkers", 0, "min_workers", 1),
        ("batchSize", -3, "batch_size", 1),
        ("maxRetryTimeoutInSec", -1, "max_retry_timeout_s", 0),
        ("clientTimeoutInMills", -1, "client_timeout_ms", 0),
        ("jobQueueSize", -1, "job_queue_size", 0),
        ("maxNumSequence", 0, "max_sequences", 1),
        ("maxWorkers", 0, "max_workers", 0),
    ],
)
def test_some_numbers_are_raised_to_the_least_there_is(key: str, value: int, field: str, read: int) -> None:
    assert getattr(read_settings({key: value}), field) == read


def test_torchruns_keys_are_read_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    read = read_settings({"torchrun": {"nnodes": "2", "nproc-per-node": 2, "shape": 1, 7: 8}})
    assert read.torchrun == {"nnodes": 1, "nproc-per-node": 2, "rdzv-backend": "c10d"}
    assert read.parallel_level == 2
    assert len(caplog.records) == 3


def test_what_the_file_says_wins_over_the_servers_defaults() -> None:
    defaults = ModelSettings(max_batch=8, max_delay=0.5, instances=3, queue_size=9, timeout=7.0)
    assert apply(TorchServeSettings(), defaults) == defaults
    assert apply(TorchServeSettings(), ModelSettings()) == ModelSettings(max_batch=1)
    said = TorchServeSettings(
        batch_size=4,
        max_batch_delay_ms=50,
        min_workers=2,
        response_timeout_s=30,
        client_timeout_ms=1500,
        job_queue_size=5,
    )
    assert apply(said, defaults) == ModelSettings(
        max_batch=4, max_delay=0.05, instances=2, queue_size=5, timeout=1.5, response_timeout=30.0
    )
    assert apply(TorchServeSettings(job_queue_size=0), defaults).queue_size == 9
    assert apply(TorchServeSettings(job_queue_size=5, use_job_ticket=True), defaults).queue_size == 0


@pytest.mark.parametrize(("most", "sequences"), [(1, 24), (30, 30)])
def test_there_may_be_a_sequence_in_every_place_of_every_worker(most: int, sequences: int) -> None:
    said = TorchServeSettings(
        batch_size=4, min_workers=2, max_workers=6, sequence_max_idle_ms=500, max_sequences=most
    )
    settings = apply(said, ModelSettings())
    assert (settings.sequences, settings.sequence_idle) == (sequences, 0.5)
    assert apply(TorchServeSettings(batch_size=4, max_sequences=9), ModelSettings()).sequences == 0


# attackers


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch MARK']",
        "!!python/object/new:os.system ['touch MARK']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object/apply:subprocess.check_output [[touch, MARK]]",
        "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ['http://x']]]]",
        "!local x",
    ],
)
def test_a_file_that_asks_for_objects_is_refused(
    tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(f"minWorkers: 1\nhandler: {value}\n")
    with pytest.raises(InvalidArchive, match=r"c\.yaml is not plain YAML: could not determine a constructor"):
        read_model_yaml(tmp_path, "c.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join(['*' + old] * 10)}]}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 100000 values"),
        (MERGES, "more than 100000 values"),
        ("a: &a [*a]", "more than 100000 values"),
        ("a: &a {b: {<<: *a}}", "more than 100000 values"),
        ("[" * 60 + "]" * 60, "nested in more than 50 levels"),
        ("[" * 100_000, "not plain YAML"),
        ("a: " + "{a: " * 3000, "not plain YAML"),
        ("- 1", "must hold one mapping"),
        ("text", "must hold one mapping"),
        ("a: 1\n---\nb: 1", "not plain YAML: but found another document"),
        ("a: [", "not plain YAML: expected the node content, but found '<stream end>' (line 1)"),
        ("a: *nobody", "found undefined alias"),
        ("a: \x07", "not plain YAML"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: 2024-99-99", "not plain YAML: month must be in 1..12"),
        ("a: " + "9" * 5000, "not plain YAML: Exceeds the limit"),
        ("a: !!timestamp nothing", "not plain YAML"),
        ("a: !!int ''", "not plain YAML"),
        ("a: !!float x", "not plain YAML"),
        ("a: !!bool x", "not plain YAML"),
        ("a: !!binary ü", "not plain YAML"),
        ("a: !" + "x" * 5000, "not plain YAML"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArchive) as caught:
        parse_yaml(text.encode(), "c.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidArchive, match="not plain YAML"):
        parse_yaml(b"a: \xff\xfe\xff", "c.yaml")


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("#" * (1 << 17) + "\n")
    with pytest.raises(InvalidArchive, match="more than 131072 bytes"):
        read_model_yaml(tmp_path, "c.yaml")


def test_honest_aliases_are_fine() -> None:
    text = b"base: &base {a: 1}\nother:\n  <<: *base\n  b: 2\nlist: [*base, *base]\n"
    assert parse_yaml(text, "x")["other"] == {"a": 1, "b": 2}


@settings(deadline=None)  # the first one imports, and a busy disk waits
@given(st.text("&*a[]{}:,-<!?|> \n'\"0.", max_size=60))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArchive):
        assert isinstance(read_settings(parse_yaml(text.encode(), "x")), TorchServeSettings)
