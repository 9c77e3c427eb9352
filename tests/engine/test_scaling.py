"""How many instances a load wants: a table of loads in, numbers out, on a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.engine.scaling import Load, Range, Scaler

LIMITS = Range(minimum=1, maximum=4, target_delay=0.1, idle_timeout=10.0)
SLEEPY = Range(minimum=0, maximum=2, target_delay=0.1, idle_timeout=10.0)


def look(scaler, instances, *, now, waiting=0, running=0, oldest=0.0, worked=0.0, limits=LIMITS):
    return scaler.wanted(limits, Load(instances, waiting, running, oldest, worked), now)


@pytest.mark.parametrize(
    ("waiting", "oldest", "instances", "wanted"),
    [
        (0, 0.0, 1, 1),
        (5, 0.05, 1, 1),  # they wait, but not for long
        (5, 0.11, 1, 2),
        (500, 9.0, 2, 3),  # one at a time
        (5, 0.11, 4, 4),  # never more than the maximum
        (5, 0.11, 5, 5),  # what the operator has asked for stays until it is idle
    ],
)
def test_requests_that_wait_too_long_get_one_more_instance(waiting, oldest, instances, wanted):
    found = look(Scaler(), instances, now=1.0, waiting=waiting, oldest=oldest, running=1)
    assert found == wanted


def test_an_instance_too_many_goes_late_and_only_while_it_stays_too_many():
    scaler, worked = Scaler(), 0.0
    for second in range(1, 11):  # two instances, half of one at work
        worked += 0.5
        assert look(scaler, 2, now=float(second), worked=worked, running=1) == 2
    worked += 0.9  # one second of more work, and the time begins again
    assert look(scaler, 2, now=11.0, worked=worked, running=2) == 2
    found = []
    for second in range(12, 23):
        worked += 0.5
        found.append(look(scaler, 2, now=float(second), worked=worked, running=1))
    assert found == [2] * 10 + [1]


def test_instances_that_are_busy_stay():
    scaler, worked = Scaler(), 0.0
    for second in range(1, 60):
        worked += 0.8
        assert look(scaler, 2, now=float(second), worked=worked, running=1) == 2


def test_the_last_instance_goes_only_when_nothing_was_asked_and_the_model_may_sleep():
    for limits, last in ((LIMITS, 1), (SLEEPY, 0)):
        scaler = Scaler()
        assert look(scaler, 1, now=1.0, worked=0.2, limits=limits) == 1
        assert look(scaler, 1, now=2.0, worked=0.2, limits=limits) == 1
        assert look(scaler, 1, now=11.9, worked=0.2, limits=limits) == 1
        assert look(scaler, 1, now=12.0, worked=0.2, limits=limits) == last


def test_a_model_that_sleeps_is_left_alone():
    scaler = Scaler()
    for second in range(1, 100):
        assert look(scaler, 0, now=float(second), limits=SLEEPY) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 5), st.floats(0, 3)),
        min_size=1,
        max_size=60,
    )
)
def test_the_number_stays_between_its_limits_and_moves_by_one(looks):
    scaler, instances, now, worked = Scaler(), 1, 0.0, 0.0
    for waiting, running, oldest, work in looks:
        now, worked = now + 1.0, worked + work
        load = Load(instances, waiting, running, oldest if waiting else 0.0, worked)
        wanted = scaler.wanted(LIMITS, load, now)
        assert LIMITS.minimum <= wanted <= LIMITS.maximum
        assert abs(wanted - instances) <= 1
        instances = wanted
