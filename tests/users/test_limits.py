"""Buckets and quotas by the clock, and what they say of themselves."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.store.accounts import Key
from dragoman.users.limits import Bucket, Limits, period_of, periods_at

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def limits(share: int = 1, usage: dict[tuple[str, str], int] | None = None, **said: float) -> Limits:
    key = Key(id="k", roles=frozenset({"infer"}), **said)  # type: ignore[arg-type]
    return Limits(key, usage or {}, NOW, share)


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    asked = limits(rate=2.0, burst=3)
    assert [asked.take(NOW) for _ in range(4)] == [0, 0, 0, 0.5]
    assert asked.take(NOW + 0.5) == 0
    assert asked.take(NOW + 0.5) == 0.5
    assert asked.take(NOW + 100) == 0


def test_a_rate_without_a_burst_has_a_second_of_it_and_at_least_one() -> None:
    assert [limits(rate=2.0).take(NOW) for _ in range(1)] == [0]
    slow = limits(rate=0.1)
    assert slow.take(NOW) == 0
    assert slow.take(NOW) == pytest.approx(10)


def test_a_clock_that_goes_back_gives_nothing_away_and_takes_nothing() -> None:
    bucket = Bucket(1.0, 1)
    assert bucket.wait(NOW) == 0
    bucket.take()
    assert bucket.wait(NOW - 3600) == 1
    assert bucket.wait(NOW - 3599) == 0


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0.1, 100), st.integers(1, 20))
def test_no_order_of_requests_gets_more_than_burst_and_rate(
    gaps: list[float], rate: float, burst: int
) -> None:
    bucket, now, taken = Bucket(rate, burst), NOW, 0
    for gap in gaps:
        now += gap
        if bucket.wait(now) == 0:
            bucket.take()
            taken += 1
    assert taken <= burst + (now - NOW) * rate + 1e-3


def test_a_day_ends_at_midnight_utc_and_a_month_with_its_last_day() -> None:
    asked = limits(daily=1, monthly=2)
    assert asked.take(NOW) == 0
    assert asked.take(NOW) == MIDNIGHT - NOW
    assert asked.take(MIDNIGHT) == 0
    assert asked.take(MIDNIGHT) == DECEMBER - MIDNIGHT
    assert asked.take(DECEMBER) == 0


def test_what_is_refused_uses_nothing_up() -> None:
    asked = limits(rate=1.0, burst=1, daily=5)
    asked.take(NOW)
    for _ in range(10):
        assert asked.take(NOW) == 1
    assert asked.quotas[0].used == 1


def test_quotas_go_on_where_they_were_before_a_restart() -> None:
    asked = limits(daily=3, usage={("k", "2026-11-25"): 2, ("other", "2026-11-25"): 9})
    assert asked.take(NOW) == 0
    assert asked.take(NOW) > 0


def test_several_processes_share_quotas_and_divide_rates() -> None:
    asked = limits(share=4, rate=8.0, burst=8, daily=10)
    assert [asked.take(NOW) for _ in range(3)] == [0, 0, 0.5]
    quota = asked.quotas[0]
    assert (quota.used, quota.unsaid) == (2, 2)
    quota.settle("2026-11-25", 9, 2)  # others have used seven
    assert (quota.used, quota.unsaid) == (9, 0)
    quota.settle("2026-11-24", 0, 0)  # of another day: too late
    assert quota.used == 9


def test_what_is_left_is_told_as_the_draft_has_it() -> None:
    asked = limits(rate=10.0, burst=20, daily=1000)
    asked.take(NOW)
    assert asked.policy == '"rate";q=20;w=2, "day";q=1000;w=86400'
    assert asked.left(NOW) == '"rate";r=19;t=1, "day";r=999;t=43200'


def test_periods_are_days_and_months_of_utc() -> None:
    assert period_of("day", NOW) == "2026-11-25"
    assert period_of("month", NOW) == "2026-11"
    assert periods_at(NOW) == {"2026-11-25", "2026-11"}
