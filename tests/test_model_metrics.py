"""Models' own metrics: summed up where they come from and where they arrive, within limits on both sides."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman import model_metrics
from dragoman.model_metrics import BUCKETS, Declared, ModelMetrics, Pending, Value, is_sound
from dragoman.workers.reporting import LONGEST, MOST_VALUES, Outlet, Reporter, decode_values, encode_values
from dragoman.workers.shared import Damaged


def value(name="n", kind="counter", number=1.0, unit="u", requests="", time=1.0, **labels):
    return Value(name, kind, unit, tuple(labels.items()), number, requests, time)


def numbers(metrics):
    return {
        (metric.name, labels): series.value for metric in metrics for labels, series in metric.series.items()
    }


A, B = (("k", "a"),), (("k", "b"),)


def test_counters_add_up_gauges_stand_and_histograms_count():
    metrics = ModelMetrics()
    metrics.take([value(number=2.0, k="a"), value(number=3.0, k="a"), value(k="b")])
    metrics.take([value("g", "gauge", 5.0), value("g", "gauge", -1.0)])
    metrics.take([value("h", "histogram", number) for number in (0.005, 0.006, 11.0)])
    assert numbers(metrics) == {("n", A): 5.0, ("n", B): 1.0, ("g", ()): -1.0, ("h", ()): 11.011}
    (series,) = next(metric for metric in metrics if metric.name == "h").series.values()
    assert series.counts == [1, 1] + [0] * (len(BUCKETS) - 2) + [1]


def test_a_name_has_one_kind_and_a_counter_never_falls():
    metrics = ModelMetrics()
    metrics.take([value(), value(kind="gauge", number=9.0), value(number=-5.0)])
    assert numbers(metrics) == {("n", ()): 1.0}


def test_a_model_can_not_have_more_series_than_allowed(caplog):
    metrics = ModelMetrics(most=2)
    metrics.take([value(k=str(number)) for number in range(5)])
    metrics.take([value("other"), value(k="0")])
    assert numbers(metrics) == {("n", (("k", "0"),)): 2.0, ("n", (("k", "1"),)): 1.0}
    assert [record.message for record in caplog.records] == ["a model has too many metrics"]


def test_numbers_of_several_processes_come_together():
    one, two = ModelMetrics(), ModelMetrics()
    one.take([value(k="a"), value("g", "gauge", 1.0, time=20.0), value("h", "histogram", 1.0)])
    two.take([value(k="a"), value(k="b"), value("g", "gauge", 2.0, time=10.0), value("h", "histogram", 2.0)])
    both = ModelMetrics()
    for each in (one, two):
        both.add(each.snapshot())
    assert numbers(both) == {("n", A): 2.0, ("n", B): 1.0, ("g", ()): 1.0, ("h", ()): 3.0}
    assert numbers(one) == {("n", A): 1.0, ("g", ()): 1.0, ("h", ()): 1.0}


def test_whoever_listens_hears_every_value():
    heard = []
    metrics = ModelMetrics(heard.append)
    metrics.take([value(), value(kind="gauge")])
    assert [[each.kind for each in values] for values in heard] == [["counter", "gauge"]]


# Where they come from.


def test_pending_values_are_summed_up_but_observations():
    pending = Pending()
    for number in (1.0, 2.0):
        pending.add(value(number=number, k="a", time=number))
        pending.add(value("g", "gauge", number))
        pending.add(value("h", "histogram", number))
    assert [each[:5] for each in pending.take()] == [
        ("n", "counter", "u", A, 3.0), ("g", "gauge", "u", (), 2.0),
        ("h", "histogram", "u", (), 1.0), ("h", "histogram", "u", (), 2.0),
    ]  # fmt: skip
    assert pending.take() == []
    pending.add(value(k="a"))
    assert [each.value for each in pending.take()] == [1.0]


def test_each_value_can_be_kept_by_itself():
    pending = Pending(each=True)
    for request in ("r1", "r2"):
        pending.add(value("g", "gauge", requests=request))
    assert [each.requests for each in pending.take()] == ["r1", "r2"]


DECLARED = {"Time": Declared("gauge", "ms", ("Model", "Level"))}


def test_what_is_declared_wins_and_labels_count_by_their_order():
    pending = Pending(DECLARED, detect=False)
    pending.add(value("Time", "counter", 3.0, "Milliseconds", ModelName="m", Depth="1"))
    pending.add(value("Other"))
    assert [each[:5] for each in pending.take()] == [
        ("Time", "gauge", "ms", (("Model", "m"), ("Level", "1")), 3.0)
    ]
    assert pending.wants("Time")
    assert not pending.wants("Other")


def test_other_labels_than_declared_are_told_once(caplog):
    pending = Pending(DECLARED)
    for _ in range(3):
        pending.add(value("Time", "gauge", only="one"))
    pending.add(value("Other"))
    assert [each.name for each in pending.take()] == ["Other"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "bad",
    [
        value("no blanks"), value(""), value("1st"), value("n" * 201), value("ünder"), value(kind="summary"),
        value(number=float("nan")), value(number=float("inf")), value(number=-1.0), value(__name="x"),
        value(**{"a b": "x"}), value(**{f"l{number}": "" for number in range(17)}),
    ],
)  # fmt: skip
def test_what_can_not_be_shown_is_left_out(bad):
    pending = Pending()
    pending.add(bad)
    pending.add(value("good"))
    assert [each.name for each in pending.take()] == ["good"]


def test_long_texts_are_cut():
    pending = Pending(each=True)
    pending.add(value(k="x" * 10_000, unit="y" * 10_000, requests="z" * 100_000))
    (found,) = pending.take()
    assert is_sound(found)


def test_there_is_an_end_to_what_can_wait():
    pending = Pending(each=True)
    for number in range(model_metrics.MOST_PENDING + 5):
        pending.add(value("g", "gauge", float(number)))
    assert len(pending.take()) == model_metrics.MOST_PENDING
    assert pending.left_out == 5
    for number in range(model_metrics.MOST_SERIES + 5):
        pending.add(value(k=str(number)))
    assert len(pending.take()) == model_metrics.MOST_SERIES - 1
    assert pending.left_out == 11


# On the way.


def test_a_reporter_sends_what_comes_and_at_the_end_the_rest():
    pending, sent, there = Pending(each=True), [], threading.Event()

    def send(values):
        sent.extend(values)
        there.set()

    reporter = Reporter(pending, send)
    pending.add(value("first"))
    assert there.wait(60)
    pending.add(value("last"))
    reporter.close()
    assert [each.name for each in sent] == ["first", "last"]


def test_an_outlet_keeps_what_comes_before_anybody_listens():
    outlet, taken = Outlet(), []
    outlet.put([value("early")])
    outlet.connect(taken.extend)
    outlet.put([value("late")])
    assert [each.name for each in taken] == ["early", "late"]


VALUES = st.builds(
    Value,
    st.from_regex(r"[a-z_:]{1,20}", fullmatch=True),
    st.sampled_from(model_metrics.KINDS),
    st.text(max_size=500),
    st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=500), max_size=16).map(
        lambda labels: tuple(labels.items())
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8192),
    st.floats(0, 1e12),
)


@given(st.lists(VALUES, max_size=20))
def test_values_cross_the_border_as_they_are(values):
    messages = list(encode_values(values))
    assert [each for message in messages for each in decode_values(message)] == values


def test_many_values_are_many_messages_of_limited_length():
    import json

    small = [value(k=str(number)) for number in range(2 * MOST_VALUES + 1)]
    assert [len(message["values"]) for message in encode_values(small)] == [MOST_VALUES, MOST_VALUES, 1]
    labels = {f"l{number}": "\N{PILE OF POO}" * 500 for number in range(16)}
    big = [value(unit="\0" * 500, requests="\N{PILE OF POO}" * 8192, **labels)] * 30
    lengths = [len(json.dumps(message)) for message in encode_values(big)]
    assert len(lengths) > 1
    assert max(lengths) <= LONGEST


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=8) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
)


SERIES = st.lists(
    JSON | st.tuples(st.just("n"), st.just("gauge"), st.text(max_size=3), st.just(())), max_size=3
)
ROWS = st.lists(
    JSON | st.tuples(st.integers(-2, 5), st.floats() | JSON, st.text() | JSON, st.floats() | JSON), max_size=3
)


@given(JSON | st.fixed_dictionaries({"series": SERIES | JSON, "values": ROWS | JSON}))
def test_nonsense_from_a_worker_is_told_from_values(message):
    try:
        found = decode_values(message)
    except (Damaged, ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return
    assert all(is_sound(each) for each in found)


GOOD = ["n", "counter", "u", []]


@pytest.mark.parametrize(
    ("series", "row"),
    [
        (GOOD, [0, float("nan"), "", 1.0]), (GOOD, [0, 1.0, "", float("inf")]), (GOOD, [0, 1, "", 1.0]),
        (GOOD, [0, True, "", 1.0]), (GOOD, [0, 1.0, 5, 1.0]), (GOOD, [0, 1.0, "x" * 10_000, 1.0]),
        (GOOD, [-1, 1.0, "", 1.0]), (GOOD, [False, 1.0, "", 1.0]),
        (["n", "counter", "u", [["k", 1]]], [0, 1.0, "", 1.0]),
        (["n", "counter", "u", [["k", "a"], ["k", "b"]]], [0, 1.0, "", 1.0]),
        (["n", "sum", "u", []], [0, 1.0, "", 1.0]), (["n" * 1000, "counter", "u", []], [0, 1.0, "", 1.0]),
        (["n", "counter", "u" * 1000, []], [0, 1.0, "", 1.0]), (["n{}", "counter", "u", []], [0, 1.0, "", 1.0]),
    ],
)  # fmt: skip
def test_a_value_that_no_honest_worker_sends_is_refused(series, row):
    with pytest.raises(Damaged):
        decode_values({"series": [series], "values": [row]})
