"""TorchServe's snapshots: as it writes them, as we do, and what is none."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve import properties
from dragoman.profiles.torchserve.snapshot import (
    KINDS,
    Snapshot,
    read_snapshot,
    snapshot_name,
    write_snapshot,
)
from dragoman.store import Model, Version

#: As TorchServe 0.12 wrote it.
WRITTEN = r"""#Saving snapshot
#Sat Nov 21 22:41:16 UTC 2026
cors_allowed_headers=X-Custom-Header
inference_address=http\://127.0.0.1\:8080
allowed_urls=https\://s3.amazonaws.com/.*
load_models=echo\=echo.mar
model_store=model_store
model_snapshot={\n  "name"\: "20261121224116639-snapshot.cfg",\n  "modelCount"\: 1,\n  "created"\: 1795300876642,\n  "models"\: {\n    "echo"\: {\n      "1.0"\: {\n        "defaultVersion"\: true,\n        "marName"\: "echo.mar",\n        "minWorkers"\: 1,\n        "maxWorkers"\: 1,\n        "batchSize"\: 1,\n        "maxBatchDelay"\: 100,\n        "responseTimeout"\: 120,\n        "startupTimeout"\: 120,\n        "runtimeType"\: "python"\n      }\n    }\n  }\n}
"""  # noqa: E501

OPTIONS = {"startupTimeout": 120, "runtimeType": "python", "parallelLevel": 1}
ECHO = Version(
    version="1.0",
    source="echo.mar",
    runtime="torchserve",
    settings={"max_batch": 1, "max_delay": 0.1, "response_timeout": 120.0, "options": OPTIONS},
)


def test_a_snapshot_of_torchserve_is_read_and_written_as_it_was() -> None:
    snapshot = read_snapshot(WRITTEN)
    assert snapshot.name == "20261121224116639-snapshot.cfg"
    assert snapshot.created == datetime(2026, 11, 21, 22, 41, 16, 642_000, tzinfo=UTC)
    assert snapshot.models == (Model(name="echo", versions=(ECHO,), default="1.0"),)
    assert snapshot.properties["allowed_urls"] == "https://s3.amazonaws.com/.*"
    assert write_snapshot(snapshot) == WRITTEN


def test_a_name_says_when_and_why() -> None:
    created = datetime(2026, 11, 21, 22, 41, 16, 639_999, tzinfo=UTC)
    assert snapshot_name(created, "snapshot") == "20261121224116639-snapshot.cfg"
    assert snapshot_name(created, KINDS[0]) < snapshot_name(created + timedelta(milliseconds=1), KINDS[0])


@pytest.mark.parametrize(
    ("day", "line"), [(1, "#Sun Feb 01 00:00:00 UTC 2026"), (28, "#Sat Feb 28 00:00:00 UTC 2026")]
)
def test_the_date_is_written_as_java_does(day: int, line: str) -> None:
    snapshot = Snapshot(name="x", created=datetime(2026, 2, day, tzinfo=UTC), models=())
    assert write_snapshot(snapshot).splitlines()[1] == line


def test_what_is_not_loaded_and_where_a_file_came_from_stays_out() -> None:
    versions = (
        replace(ECHO, source="https://a.example/models/echo.mar", path="/store/echo.mar"),
        replace(ECHO, version="2.0", source="", path="/store/echo2.mar"),
        replace(ECHO, version="3.0", loaded=False),
    )
    model = Model(name="echo", versions=versions, default="2.0")
    written = write_snapshot(Snapshot(name="x", created=datetime(2026, 1, 1, tzinfo=UTC), models=(model,)))
    document = json.loads(properties.parse(written)["model_snapshot"])
    assert document["modelCount"] == 2
    tables = document["models"]["echo"]
    assert [(number, table["marName"], table["defaultVersion"]) for number, table in tables.items()] == [
        ("1.0", "echo.mar", False),
        ("2.0", "echo2.mar", True),
    ]


def test_settings_that_were_never_told_are_torchserves_defaults() -> None:
    bare = Model(name="m", versions=(Version(version="1", source="m.mar"),), default="1")
    written = write_snapshot(Snapshot(name="x", created=datetime(2026, 1, 1, tzinfo=UTC), models=(bare,)))
    assert read_snapshot(written).models == (
        Model(name="m", versions=(replace(ECHO, version="1", source="m.mar"),), default="1"),
    )


def snapshot_of(models: Any) -> str:
    return properties.dump({"model_snapshot": json.dumps({"models": models})})


def test_what_a_snapshot_does_not_say_has_torchserves_defaults() -> None:
    (model,) = read_snapshot(
        snapshot_of({"m": {"1.0": {}, "2.0": {"defaultVersion": True, "marName": "b.mar"}}})
    ).models
    assert model.default == "2.0"
    assert [version.source for version in model.versions] == ["m.mar", "b.mar"]
    assert model.versions[0] == replace(ECHO, source="m.mar")


def test_the_first_version_is_the_default_of_a_model_that_has_none() -> None:
    (model,) = read_snapshot(snapshot_of({"m": {"1.0": {}, "2.0": {}}})).models
    assert model.default == "1.0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_store=x",
        "model_snapshot=",
        "model_snapshot={",
        "model_snapshot=[]",
        "model_snapshot=" + "[" * 100_000,
        "model_snapshot=\\uZZZZ",
        'model_snapshot={"name": 1}',
        'model_snapshot={"created": "now"}',
        'model_snapshot={"created": 1e3}',
        'model_snapshot={"created": 999999999999999999999}',
        'model_snapshot={"models": []}',
        'model_snapshot={"models": {"m": []}}',
        'model_snapshot={"models": {"m": {}}}',
        'model_snapshot={"models": {"": {"1": {}}}}',
        'model_snapshot={"models": {"m": {"1": []}}}',
        'model_snapshot={"models": {"m": {"1": {"minWorkers": "1"}}}}',
        'model_snapshot={"models": {"m": {"1": {"minWorkers": true}}}}',
        'model_snapshot={"models": {"m": {"1": {"minWorkers": 1.5}}}}',
        'model_snapshot={"models": {"m": {"1": {"minWorkers": -1}}}}',
        'model_snapshot={"models": {"m": {"1": {"minWorkers": 2, "maxWorkers": 1}}}}',
        'model_snapshot={"models": {"m": {"1": {"defaultVersion": "yes"}}}}',
        'model_snapshot={"models": {"m": {"1": {"marName": null}}}}',
    ],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_snapshot(text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,10}", fullmatch=True)
VERSIONS = st.builds(
    lambda version, name, least, more, batch, delay, response, startup, runtime, level: Version(
        version=version,
        source=name + ".mar",
        runtime="torchserve",
        min_instances=least,
        max_instances=least + more,
        settings={
            "max_batch": batch,
            "max_delay": delay / 1000,
            "response_timeout": float(response),
            "options": {"startupTimeout": startup, "runtimeType": runtime, "parallelLevel": level},
        },
    ),
    TEXTS,
    NAMES,
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(1, 10_000),
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.sampled_from(["python", "python3", "LSP"]),
    st.integers(1, 64),
)


@st.composite
def models(draw: st.DrawFn) -> tuple[Model, ...]:
    names = draw(st.lists(TEXTS, max_size=3, unique=True))
    made = []
    for name in names:
        versions = draw(st.lists(VERSIONS, min_size=1, max_size=3, unique_by=lambda version: version.version))
        default = draw(st.sampled_from(versions))
        made.append(Model(name=name, versions=tuple(versions), default=default.version))
    return tuple(made)


SNAPSHOTS = st.builds(
    Snapshot,
    name=TEXTS,
    created=st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)).map(
        lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
    ),
    models=models(),
    properties=st.dictionaries(TEXTS.filter(lambda key: key != "model_snapshot"), TEXTS, max_size=4),
)


@given(SNAPSHOTS)
def test_what_is_written_is_read_back_the_same(snapshot: Snapshot) -> None:
    text = write_snapshot(snapshot)
    assert text.isascii()
    assert read_snapshot(text) == snapshot
