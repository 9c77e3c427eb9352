"""What a model prints goes to the log, within bounds, and disturbs nothing."""

import pytest

from tests.workers.faulty import SLACK, until
from tests.workers.load import Load, p99


@pytest.mark.parametrize("command", ["stdout_2mb", "stderr_non_utf8"])
def test_no_output_is_taken_for_an_answer(one, command):
    """R7"""
    assert one.value(command) == 1.0
    assert one.works()
    assert not one.exits


def test_a_million_lines_a_second_disturb_nobody(front):
    """R7: for three seconds, while the other worker and the server work on."""
    with Load(front.url) as load:
        until(lambda: len(load.answers) >= 120)
        before = list(load.answers.values())
        (number,) = load.ask("many_lines", 3e6)
        until(lambda: load.answer(number), 60)
        done = len(load.answers)
        until(lambda: len(load.answers) >= done + 60)
    answers = load.ledger()
    assert {answer.status for answer in answers} == {200}
    assert not front.exits
    (printing,) = [note for note in front.journal if number in note.numbers and note.event == "ended"]
    mates = set(printing.numbers)
    during = [
        a for a in answers if len(before) < a.number and a.due < printing.time and a.number not in mates
    ]
    assert len(during) >= 90
    assert p99(during) <= 2 * p99(before) + SLACK

    told = [event for event in front.events if event["logger"] == "dragoman.output"]
    lines = [event for event in told if event["event"].startswith("a line of output")]
    left_out = sum(event["lines"] for event in told if event["event"] == "lines of output left out")
    assert len(lines) <= 100 * 6
    assert len(lines) + left_out == pytest.approx(3_000_000, abs=100)
