"""The simulation behind docs/scaling.md, held against theory."""

import re
from pathlib import Path

import pytest

from benchmarks.queueing import (
    SERVICES,
    WAYS,
    constant,
    exponential,
    heavy,
    simulate,
    wait_md1,
    wait_mm1,
    wait_mmc,
)

REQUESTS = 60_000


def waited(way, replicas, load, service=exponential):
    return simulate(way, replicas, load, service, REQUESTS, seed=11).waited


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_replica_waits_as_long_as_theory_says(load):
    assert waited("shared queue", 1, load) == pytest.approx(wait_mm1(load), rel=0.12)
    assert waited("shared queue", 1, load, constant) == pytest.approx(wait_md1(load), rel=0.08)


@pytest.mark.parametrize(("replicas", "load"), [(2, 0.6), (4, 0.8), (8, 0.9)])
def test_a_shared_queue_waits_as_long_as_erlang_says(replicas, load):
    assert waited("shared queue", replicas, load) == pytest.approx(wait_mmc(replicas, load), rel=0.15)


@pytest.mark.parametrize("replicas", [2, 4])
def test_random_shares_are_as_many_replicas_that_know_nothing_of_each_other(replicas):
    assert waited("random", replicas, 0.7) == pytest.approx(wait_mm1(0.7), rel=0.12)


def test_erlang_s_formula_has_its_known_values():
    assert wait_mmc(1, 0.5) == pytest.approx(wait_mm1(0.5))
    assert wait_mmc(2, 0.5) == pytest.approx(1 / 3)  # of M/M/2: rho**2 / (1 - rho**2)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_who_knows_more_waits_less(service):
    waits = [waited(way, 4, 0.85, service) for way in ("random", "two choices", "shared queue")]
    assert waits == sorted(waits, reverse=True)


def test_the_replicas_work_for_as_much_of_their_time_as_is_asked_of_them():
    for way in WAYS:
        found = simulate(way, 4, 0.7, heavy, REQUESTS, seed=3)
        assert found.utilisation == pytest.approx(0.7, abs=0.03)


def test_one_seed_is_one_result():
    once, again = (simulate("two choices", 3, 0.9, heavy, 5_000, seed=5) for _ in range(2))
    assert once == again
    assert once != simulate("two choices", 3, 0.9, heavy, 5_000, seed=6)


def test_the_page_has_lines_that_the_simulation_gives():
    """Two lines of the table, made anew as the page says they were."""
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    for name, replicas, load in (("constant", 2, 0.5), ("heavy", 4, 0.8)):
        line = re.search(rf"^\| {name} \| {replicas} \| {load:.0%} \| (.+) \|$", page, re.M)[1]
        found = [simulate(way, replicas, load, SERVICES[name], 200_000, seed=7) for way in WAYS]
        assert line == " | ".join(f"{each.p50:.1f}, {each.p99:.1f}" for each in found)
