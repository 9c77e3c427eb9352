"""How long to wait after a death, and when to say that there were too many: decided without a clock or a process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.workers.restarts import DEATHS, LAST_DELAY, SPREAD, WINDOW, Restarts


def exactly(low, high):
    return (low + high) / 2


def test_each_wait_is_twice_the_one_before_up_to_half_a_minute():
    restarts = Restarts(exactly)
    assert [restarts.delay() for _ in range(11)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        12.8,
        25.6,
        30.0,
        30.0,
    ]


@given(st.integers(0, 20))
def test_waits_are_spread_around_that(turns):
    one, middle = Restarts(), Restarts(exactly)
    for _ in range(turns):
        one.delay()
        middle.delay()
    assert one.delay() == pytest.approx(middle.delay(), rel=SPREAD + 1e-9)
    assert len({Restarts().delay() for _ in range(20)}) > 10


def test_an_answer_makes_the_waits_short_again():
    restarts = Restarts(exactly)
    for _ in range(4):
        restarts.died(0.0)
        restarts.delay()
    assert not restarts.answered(born=1.0)
    assert restarts.delay() == 0.1
    assert not restarts.troubled


def test_an_answer_of_one_that_was_there_before_proves_nothing():
    """A worn-out process that nothing can replace works on; its answers don't hurry those that can't load."""
    restarts = Restarts(exactly)
    waits = []
    for time in range(1, 5):
        restarts.failed(time)
        waits.append(restarts.delay())
        assert not restarts.answered(born=0.0)
    assert waits == [0.1, 0.2, 0.4, 0.8]
    assert restarts.troubled
    assert not restarts.broken


@pytest.mark.parametrize(
    ("times", "opens"),
    [
        ([0, 1, 2, 3], []),
        ([0, 1, 2, 3, 4], [4]),
        ([0, 1, 2, 3, 4, 5, 6], [4]),
        ([0, 15, 30, 45, 59.9], [59.9]),
        ([0, 15, 30, 45, 60], []),
        ([0, 15, 30, 45, 60, 61, 62, 63], [61]),
    ],
    ids=str,
)
def test_five_deaths_in_a_minute_open_the_breaker_once(times, opens):
    restarts = Restarts()
    assert [time for time in times if restarts.died(time)] == opens
    assert restarts.broken == bool(opens)


def test_an_answer_closes_it_and_the_count_begins_anew():
    restarts = Restarts()
    for time in range(DEATHS):
        restarts.died(time)
    assert not restarts.answered(born=DEATHS - 2)
    assert restarts.answered(born=DEATHS)
    assert not restarts.broken
    assert [restarts.died(10 + time) for time in range(DEATHS)] == [False] * (DEATHS - 1) + [True]


def test_answers_in_between_keep_it_closed():
    restarts = Restarts()
    for time in range(100):
        assert not restarts.died(time / 10)
        restarts.answered(born=time / 10 + 0.05)


@given(st.lists(st.floats(0, 200), max_size=40).map(sorted))
def test_it_is_broken_exactly_if_some_minute_had_five_deaths(times):
    restarts = Restarts()
    for time in times:
        restarts.died(time)
    crowded = any(late - early < WINDOW for early, late in zip(times, times[DEATHS - 1 :], strict=False))
    assert restarts.broken == crowded


def test_no_wait_is_longer_than_is_promised():
    restarts = Restarts()
    assert max(restarts.delay() for _ in range(50)) <= LAST_DELAY * (1 + SPREAD)
