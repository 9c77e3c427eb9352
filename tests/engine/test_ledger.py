"""What is wanted, written in the store's words and read again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.engine.desired import Desired, Wanted
from dragoman.engine.ledger import StoreLedger, to_desired, to_model
from dragoman.engine.traffic import Traffic
from dragoman.errors import Conflict
from dragoman.store import open_store

NUMBERS = [str(number) for number in range(1, 5)]


@st.composite
def desired(draw):
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=4, unique=True))
    versions = {}
    for number in numbers:
        least = draw(st.integers(0, 3))
        most = draw(st.just(0) | st.integers(least + 1, 9))
        text = st.text("abc/.-", max_size=9)
        document = draw(st.dictionaries(text, text, max_size=2))
        document |= draw(st.sampled_from([{}, {"path": "/x", "settings": {"instances": 2}}]))
        versions[number] = Wanted(number, document, least, most)
    shares = {numbers[0]: 30, numbers[1]: 70} if len(numbers) > 1 and draw(st.booleans()) else {}
    shadow = draw(st.sampled_from(["", numbers[-1]]))
    return Desired("m", versions, draw(st.sampled_from(["", *numbers])), (), Traffic(shares, shadow))


@given(desired())
def test_what_is_wanted_comes_back(wanted):
    assert to_desired(to_model(wanted, 0), ()) == wanted


def wanted(default, *versions):
    return Desired("m", {number: Wanted(number, {"path": f"/x/{number}"}) for number in versions}, default)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state.db"


def test_earlier_defaults_are_remembered_over_a_restart(place):
    ledger = StoreLedger(open_store(place))
    one = wanted("1", "1", "2", "3")
    for default, what in (
        ("1", "load"),
        ("2", "default 2"),
        ("3", "default 3"),
        ("2", "roll back to 2"),
    ):
        ledger.write(replace(one, default=default), what, "me")
    ledger.close()
    again = StoreLedger(open_store(place))
    (found,) = again.read()
    assert (found.default, found.before) == ("2", ("1",))
    again.write(replace(found, default="1"), "roll back to 1", "me")
    (found,) = again.read()
    assert (found.default, found.before) == ("1", ())
    again.close()


def test_a_model_that_went_comes_back_without_its_past(place):
    ledger = StoreLedger(open_store(place))
    ledger.write(wanted("1", "1", "2"), "load", "me")
    ledger.write(wanted("2", "1", "2"), "default 2", "me")
    ledger.erase("m", "me")
    assert ledger.read() == []
    ledger.write(wanted("1", "1"), "load", "me")
    (found,) = ledger.read()
    assert found.before == ()
    ledger.close()


def test_of_two_servers_with_one_state_the_slower_one_is_refused(place):
    one, other = StoreLedger(open_store(place)), StoreLedger(open_store(place))
    one.write(wanted("1", "1"), "load", "one")
    other.read()
    other.write(wanted("1", "1", "2"), "load", "other")
    with pytest.raises(Conflict):
        one.write(wanted("1", "1", "3"), "load", "one")
    assert sorted(other.read()[0].versions) == ["1", "2"]
    one.close()
    other.close()
