"""Who guesses waits longer and longer; memory stays bounded."""

import pytest

from dragoman.users.attempts import Attempts


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 0), (1, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (1000, 900)]
)
def test_after_the_free_ones_each_wait_is_twice_the_one_before(failures: int, wait: float) -> None:
    attempts = Attempts(5)
    for _ in range(failures):
        attempts.failed("ann", 100.0)
    assert attempts.wait("ann", 100.0) == wait
    assert attempts.wait("ann", 100.0 + wait) == 0
    assert attempts.wait("bob", 100.0) == 0


def test_who_succeeds_begins_anew() -> None:
    attempts = Attempts(1)
    attempts.failed("ann", 0.0)
    assert attempts.wait("ann", 0.0)
    attempts.succeeded("ann")
    assert not attempts.wait("ann", 0.0)
    assert len(attempts) == 0


def test_what_is_forgiven_was_no_failure() -> None:
    attempts = Attempts(1)
    attempts.failed("10.0.0.7", 0.0)
    attempts.forgive("10.0.0.7")
    attempts.forgive("10.0.0.8")
    assert not attempts.wait("10.0.0.7", 0.0)


def test_who_was_quiet_for_long_begins_anew() -> None:
    attempts = Attempts(1, longest=60.0)
    for now in (0.0, 1.0, 2.0):
        attempts.failed("ann", now)
    attempts.failed("ann", 500.0)
    assert attempts.wait("ann", 500.0) == 1


def test_strangers_can_not_fill_the_memory() -> None:
    attempts = Attempts(1, most=100)
    for number in range(1000):
        attempts.failed(f"name {number}", float(number))
    assert len(attempts) == 100
    assert attempts.wait("name 999", 999.0)
    assert not attempts.wait("name 0", 999.0)


def test_a_huge_number_of_failures_is_no_overflow() -> None:
    attempts = Attempts(0, longest=60.0)
    for _ in range(2000):
        attempts.failed("ann", 0.0)
    assert attempts.wait("ann", 0.0) == 60.0
