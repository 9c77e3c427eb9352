"""Looks that follow each other, compared with a plain account of what has been the same how often."""

from hypothesis import given
from hypothesis import strategies as st

from dragoman.engine.quiet import Quiet


def test_a_change_counts_when_two_looks_have_seen_it_alike() -> None:
    quiet = Quiet({"a": 1})
    assert quiet.changes({"a": 1}) == {}
    assert quiet.changes({"a": 2}) == {}
    assert quiet.changes({"a": 2}) == {"a": 2}
    assert quiet.changes({"a": 2}) == {}


def test_what_changes_all_the_time_is_never_over() -> None:
    quiet: Quiet[int] = Quiet({})
    assert [quiet.changes({"a": size}) for size in (1, 2, 3, 4)] == [{}, {}, {}, {}]
    assert quiet.changes({"a": 4}) == {"a": 4}


def test_what_comes_back_as_it_was_has_not_changed() -> None:
    quiet = Quiet({"a": 1})
    assert [quiet.changes(look) for look in ({}, {"a": 1}, {}, {"a": 1})] == [{}, {}, {}, {}]
    assert quiet.changes({}) == {}
    assert quiet.changes({}) == {"a": None}


def test_each_name_is_for_itself() -> None:
    quiet = Quiet({"a": 1, "b": 1})
    quiet.changes({"a": 2, "b": 1})
    assert quiet.changes({"a": 2, "b": 2, "c": 1}) == {"a": 2}
    assert quiet.changes({"a": 2, "b": 2, "c": 1}) == {"b": 2, "c": 1}


LOOKS = st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)), max_size=30)


@given(LOOKS)
def test_whoever_follows_the_changes_has_what_was_last_the_same_twice(looks: list[dict[str, int]]) -> None:
    quiet: Quiet[int] = Quiet({})
    followed: dict[str, int] = {}
    before: dict[str, int] = {}
    expected: dict[str, int] = {}
    for look in looks:
        for name, value in quiet.changes(look).items():
            if value is None:
                del followed[name]
            else:
                followed[name] = value
        for name in "ab":
            if before.get(name) == look.get(name) and name in look:
                expected[name] = look[name]
            elif before.get(name) == look.get(name):
                expected.pop(name, None)
        before = look
        assert followed == expected
