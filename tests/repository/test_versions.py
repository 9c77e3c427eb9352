"""Version policies: tables and what must hold for any of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError
from dragoman.repository.versions import Policy, missing, parse_policy, wanted

VERSIONS = st.sets(st.integers(1, 10**17))


@pytest.mark.parametrize(
    ("available", "policy", "loaded"),
    [
        (["1", "2", "10"], "latest", (10,)),
        (["1", "2", "10"], "latest:2", (2, 10)),
        (["1", "2", "10"], "latest:9", (1, 2, 10)),
        (["10", "9", "1"], "all", (1, 9, 10)),
        ([3, 1, 2], "specific:3,1", (1, 3)),
        ([3, 1, 2], "specific: 3, 4", (3,)),
        ([], "latest", ()),
        ([], "all", ()),
        (["2", 2], "all", (2,)),
    ],
)
def test_a_policy_chooses_by_number(available: list[str | int], policy: str, loaded: tuple[int, ...]) -> None:
    assert wanted(available, policy) == loaded


@pytest.mark.parametrize(
    "policy",
    ["", "lates", "latest:", "latest:0", "latest:-1", "latest:x", "all:", "all:1", "specific", "specific:",
     "specific:0",
     "specific:1,", "specific:01", "specific:1;2", "LATEST", "specific:" + "9" * 5000],
)  # fmt: skip
def test_what_is_no_policy_is_refused(policy: str) -> None:
    with pytest.raises(ConfigError, match="is no version policy") as caught:
        parse_policy(policy)
    assert "latest:2" in caught.value.hint


@pytest.mark.parametrize("version", ["0", "01", "x", "", "-1", "1.0", "٣", 0, -1])
def test_what_is_no_version_is_refused(version: str | int) -> None:
    with pytest.raises(ConfigError, match="is no version"):
        wanted([version], "all")


def test_a_policy_says_what_it_means() -> None:
    assert parse_policy("all") == Policy()
    assert parse_policy("latest") == Policy(latest=1)
    assert parse_policy("specific:3,1,3") == Policy(specific=(1, 3))


def test_only_named_versions_can_be_missing() -> None:
    assert missing([1, 2], "specific:2,3,4") == (3, 4)
    assert missing([], "latest:3") == ()


@given(VERSIONS, st.integers(1, 5))
def test_latest_takes_the_highest_in_rising_order(available: set[int], count: int) -> None:
    assert wanted(map(str, available), f"latest:{count}") == tuple(sorted(available)[-count:])


@given(VERSIONS, st.sets(st.integers(1, 10**17), min_size=1))
def test_specific_versions_are_either_loaded_or_missing(available: set[int], named: set[int]) -> None:
    policy = "specific:" + ",".join(map(str, named | set(list(available)[:2])))
    chosen, absent = wanted(available, policy), missing(available, policy)
    assert tuple(sorted({*chosen, *absent})) == parse_policy(policy).specific
    assert set(chosen) <= available
    assert not set(absent) & available
