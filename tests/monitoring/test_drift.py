"""The three tests, against scipy's; what is counted of columns; and what of it is told."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dragoman.errors import InvalidInput
from dragoman.monitoring.drift import chi_squared, compare, gamma_above, kolmogorov, ks, psi
from dragoman.monitoring.features import columns_of
from dragoman.monitoring.reference import decode, encode, summarize
from dragoman.types import Tensor

COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=12)


@given(st.floats(0.5, 60), st.floats(0, 200))
def test_the_gamma_function_is_scipys(a, x):
    assert gamma_above(a, x) == pytest.approx(stats.gamma.sf(x, a), rel=1e-8, abs=1e-13)


@given(st.floats(0.05, 6))
def test_kolmogorovs_limit_is_scipys(x):
    assert kolmogorov(x) == pytest.approx(stats.kstwobign.sf(x), rel=1e-8, abs=1e-12)


@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_chi_squared_is_scipys_where_no_category_is_rare(size, random):
    expected = [random.randint(20, 500) for _ in range(size)]
    seen = [random.randint(20, 500) for _ in range(size)]
    if min(sum(expected), sum(seen)) * 40 / (sum(expected) + sum(seen)) < 5:
        return  # some count as rare
    found = stats.chi2_contingency([expected, seen], correction=False)
    assert chi_squared(expected, seen) == pytest.approx((found.statistic, found.pvalue), rel=1e-8, abs=1e-12)


@given(COUNTS)
def test_rare_categories_are_taken_together_and_nothing_divides_by_zero(counts):
    statistic, p = chi_squared(counts, list(reversed(counts)))
    assert statistic >= 0
    assert 0 <= p <= 1


@given(COUNTS)
def test_equal_counts_have_not_moved(counts):
    assert psi(counts, counts) == 0
    assert ks(counts, [2 * count for count in counts])[0] == pytest.approx(0)
    assert chi_squared(counts, counts)[0] == pytest.approx(0)


@pytest.mark.parametrize(
    ("expected", "seen", "index"),
    [
        ([50, 50], [50, 50], 0.0),
        ([50, 50], [25, 75], 0.25 * np.log(3)),
        ([10, 20, 70], [20, 20, 60], 0.1 * np.log(2) + 0.1 * np.log(7 / 6)),
    ],
)
def test_psi_is_what_its_formula_says(expected, seen, index):
    assert psi(expected, seen) == pytest.approx(index)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("draw", ["normal", "exponential", "integers"])
def test_ks_of_counts_is_scipys_to_a_hundredth(shift, draw):
    random = np.random.default_rng(7)
    make = {
        "normal": lambda: random.normal(size=3000),
        "exponential": lambda: random.exponential(size=3000),
        "integers": lambda: random.integers(0, 8, 3000).astype(float),
    }[draw]
    before, now = make(), make() + round(shift) * (draw == "integers") + shift * (draw != "integers")
    feature = summarize([{"x": before}]).features["x"]
    found = ks(feature.counts[:-1], feature.count(now)[:-1])[0]
    exact = stats.ks_2samp(before, now).statistic
    assert exact - 0.011 <= found <= exact + 1e-9


def drift_of(before, now):
    reference = summarize([{"x": before}])
    return next(compare(reference, reference.count({"x": now})))


def test_what_has_not_moved_is_stable_and_what_has_is_told():
    random = np.random.default_rng(3)
    before = random.normal(size=5000)
    assert drift_of(before, random.normal(size=2000)).verdict == "stable"
    assert drift_of(before, random.normal(0.4, 1, 2000)).verdict == "moderate"
    moved = drift_of(before, random.normal(1.5, 1, 2000))
    assert moved.verdict == "large"
    assert {result.test for result in moved.results} == {"psi", "ks"}
    assert moved.results[1].p < 1e-9


def test_categories_that_nobody_knew_are_told():
    before = np.array(["red"] * 600 + ["blue"] * 400, object)
    assert drift_of(before, before[::2]).verdict == "stable"
    moved = drift_of(before, np.array(["red"] * 200 + ["green"] * 200, object))
    assert moved.verdict == "large"
    assert {result.test for result in moved.results} == {"psi", "chi_squared"}


def test_numbers_that_are_missing_move_psi_and_not_ks():
    before = np.arange(1000.0)
    now = np.where(np.arange(1000) % 2, np.nan, before)
    moved = drift_of(before, now)
    assert moved.verdict == "large"
    assert moved.results[1].statistic < 0.01


def test_of_few_rows_nothing_is_told():
    found = drift_of(np.arange(1000.0), np.arange(199.0))
    assert (found.verdict, found.rows, found.results) == ("too_few", 199, ())


def test_a_column_of_one_value_is_a_feature():
    assert drift_of(np.ones(500), np.ones(300)).verdict == "stable"
    assert drift_of(np.ones(500), np.zeros(300) + 2).verdict == "large"
    assert drift_of(np.full(500, np.nan), np.ones(300)).verdict == "large"


def test_columns_are_named_by_their_tensor_and_place():
    wide = Tensor("w", "FP32", np.arange(6, dtype=np.float32).reshape(3, 2))
    flag = Tensor("flag", "BOOL", np.array([True, False, True]))
    text = Tensor("text", "BYTES", np.array([b"a", b"\xff", b"c"], object))
    picture = Tensor("picture", "UINT8", np.zeros((3, 224, 224), np.uint8))
    found = columns_of([wide, flag, text, picture], batched=True)
    assert {name: values.tolist() for name, values in found.items()} == {
        "w[0]": [0, 2, 4],
        "w[1]": [1, 3, 5],
        "flag": ["true", "false", "true"],
        "text": ["a", "\ufffd", "c"],
    }
    single = columns_of([wide], batched=False)
    assert {name: values.tolist() for name, values in single.items()} == {f"w[{i}]": [i] for i in range(6)}


def test_bf16_is_read_as_the_numbers_it_means():
    one = Tensor("x", "BF16", np.array([0x3F80, 0xC000], "<u2"))
    assert columns_of([one], batched=True)["x"].tolist() == [1.0, -2.0]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=300))
def test_a_reference_survives_its_file(values):
    reference = summarize([{"x": np.array(values), "c": np.array([str(v) for v in values], object)}])
    text = json.dumps(encode(reference))
    again = decode(json.loads(text))
    assert again == reference
    assert sum(again.features["x"].counts) == len(values)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"dragoman_reference": 2},
        {"dragoman_reference": 1, "rows": 1},
        {
            "dragoman_reference": 1,
            "rows": 1,
            "features": {"x": {"kind": "number", "bounds": [1], "counts": [1]}},
        },
        {"dragoman_reference": 1, "rows": 1, "features": {"x": {"kind": "odd", "counts": [1]}}},
        {
            "dragoman_reference": 1,
            "rows": 1,
            "features": {"x": {"kind": "number", "bounds": [2, 1], "counts": [1, 1, 1, 1]}},
        },
    ],
)
def test_what_is_no_reference_is_refused(document):
    with pytest.raises(InvalidInput):
        decode(document)


def test_without_rows_there_is_no_reference():
    with pytest.raises(InvalidInput):
        summarize([])
