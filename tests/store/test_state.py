"""Models as values: what contradicts itself, how they are written down, what going back means."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput
from dragoman.store import Model, Version
from dragoman.store.documents import decode_model, decode_time, encode_model, encode_time, seal
from dragoman.store.history import Step, earlier
from dragoman.store.state import check

IRIS = Model(name="iris", versions=(Version(version="1"), Version(version="2")), default="1")

CONTRADICTIONS: dict[str, Model] = {
    "no name": replace(IRIS, name=""),
    "long name": replace(IRIS, name="x" * 256),
    "no version": replace(IRIS, versions=()),
    "version without a number": replace(IRIS, versions=(Version(version=""),), default=""),
    "long version": replace(IRIS, versions=(Version(version="1" * 256),), default="1" * 256),
    "version twice": replace(IRIS, versions=(Version(version="1"), Version(version="1"))),
    "default that isn't there": replace(IRIS, default="3"),
    "shadow that isn't there": replace(IRIS, shadow="3"),
    "negative instances": replace(IRIS, versions=(Version(version="1", min_instances=-1),)),
    "more at least than at most": replace(IRIS, versions=(Version(version="1", min_instances=2),)),
    "negative weight": replace(IRIS, versions=(Version(version="1", weight=-1),)),
    "nul": replace(IRIS, name="a\0b"),
    "half a character": replace(IRIS, versions=(Version(version="1", path="\ud800"),)),
    "not a number": replace(IRIS, versions=(Version(version="1", settings={"a": float("nan")}),)),
    "settings that are no JSON": replace(IRIS, versions=(Version(version="1", settings={"a": {1}}),)),
    "settings that change": replace(IRIS, versions=(Version(version="1", settings={"a": (1, 2)}),)),
    "keys that are no texts": replace(IRIS, versions=(Version(version="1", settings={1: 2}),)),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_a_model_that_contradicts_itself_is_refused(contradiction: str) -> None:
    with pytest.raises(InvalidInput):
        check(CONTRADICTIONS[contradiction])


def test_a_model_that_does_not_is_taken() -> None:
    check(IRIS)
    check(replace(IRIS, shadow="2", default="2"))
    check(replace(IRIS, default=""))
    check(replace(IRIS, versions=(Version(version="1", min_instances=0, max_instances=0, weight=3),)))
    assert IRIS.version("2") == Version(version="2")
    assert IRIS.version("3") is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
VERSIONS = st.builds(
    Version,
    version=TEXTS.filter(bool),
    source=TEXTS,
    digest=TEXTS,
    path=TEXTS,
    runtime=TEXTS,
    handler=TEXTS,
    settings=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    loaded=st.booleans(),
    min_instances=st.integers(0, 3),
    max_instances=st.integers(3, 2**31 - 1),
    weight=st.integers(0, 2**31 - 1),
    changed_by=TEXTS,
    changed_at=st.none() | TIMES,
)


@st.composite
def models(draw: st.DrawFn) -> Model:
    versions = draw(st.lists(VERSIONS, min_size=1, max_size=3, unique_by=lambda version: version.version))
    numbers = [version.version for version in versions]
    return Model(
        name=draw(TEXTS.filter(bool)),
        versions=tuple(versions),
        default=draw(st.sampled_from(numbers)),
        shadow=draw(st.sampled_from(["", *numbers])),
        revision=draw(st.integers(0, 1000)),
    )


@given(models())
def test_a_document_says_all_of_a_model(model: Model) -> None:
    check(model)
    document = encode_model(model)
    again = json.loads(json.dumps(document))
    assert decode_model(again) == model
    assert seal(again) == seal(document)


@given(models(), models())
def test_different_models_have_different_seals(one: Model, other: Model) -> None:
    assert (seal(encode_model(one)) == seal(encode_model(other))) == (
        encode_model(one) == encode_model(other)
    )


def test_a_document_of_an_earlier_form_is_still_read() -> None:
    document = {"name": "iris", "versions": [{"version": "1", "path": "/x"}], "default": "1", "revision": 3}
    assert decode_model(document) == Model(
        name="iris", versions=(Version(version="1", path="/x"),), default="1", revision=3
    )


@given(TIMES)
def test_a_moment_is_kept_to_the_microsecond(time: datetime) -> None:
    microseconds = encode_time(time)
    assert isinstance(microseconds, int)
    assert decode_time(microseconds) == time


@pytest.mark.parametrize(
    ("steps", "number"),
    [
        ([], None),
        ([Step(1, None, True)], None),
        ([Step(1, None, True), Step(2, None, True)], 1),
        ([Step(1, None, True), Step(2, None, False)], 1),  # removed by mistake
        ([Step(1, None, True), Step(2, None, False), Step(3, None, True)], 1),  # and registered anew
        ([Step(1, None, True), Step(5, None, True), Step(9, 1, True)], None),  # nothing before the first
        ([Step(1, None, True), Step(2, None, True), Step(3, None, True), Step(4, 2, True)], 1),
        ([Step(1, None, True), Step(2, None, True), Step(3, 1, True), Step(4, None, True)], 1),
    ],
)
def test_going_back_goes_to_what_was_before(steps: list[Step], number: int | None) -> None:
    assert earlier(steps) == number


@given(st.lists(st.sampled_from(["save", "remove", "back"]), max_size=30))
@example(["save", "save", "save", "back", "save", "back", "back"])
def test_going_back_again_and_again_undoes_what_was_done_last(done: list[str]) -> None:
    steps: list[Step] = []
    undo: list[tuple[int, bool]] = []  # the outcomes that lie behind, the present one last
    for number, what in enumerate(done, start=1):
        target = earlier(steps)
        if what != "back":
            steps.append(Step(number, None, what == "save"))
            undo.append((number, what == "save"))
            continue
        while len(undo) > 1 and not undo[-2][1]:
            undo.pop(-2)
        if len(undo) < 2:
            assert target is None
            continue
        undo.pop()
        assert target == undo[-1][0]
        steps.append(Step(number, target, True))
