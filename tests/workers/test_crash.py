"""A death is told in words that a person understands, and nothing of the machine's insides with it."""

import json
import signal
from collections import Counter

import pytest

from dragoman.workers.crash import KEPT, Cause, CrashReport, Exits, Reason, explain_exit


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (0, Reason.EXIT, "exit code 0"),
        (3, Reason.EXIT, "exit code 3"),
        (-signal.SIGSEGV, Reason.SIGSEGV, "SIGSEGV (native code used memory that isn't its own)"),
        (-signal.SIGKILL, Reason.SIGKILL, "SIGKILL (killed from outside)"),
        (-signal.SIGABRT, Reason.SIGABRT, "SIGABRT (native code gave up)"),
        (-signal.SIGTERM, Reason.SIGTERM, "SIGTERM (asked to stop from outside)"),
        (-signal.SIGUSR1, Reason.SIGNAL, "SIGUSR1"),
        (-250, Reason.SIGNAL, "signal 250"),
    ],
)
def test_an_exit_code_by_name_and_in_words(code, reason, words):
    cause = explain_exit(code)
    assert cause.reason is reason
    assert cause.words.endswith(words)


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (-signal.SIGABRT, ["terminate called", "  what():  std::bad_alloc"], Reason.OOM),
        (-signal.SIGABRT, ["std::bad_alloc", *["other words"] * 40], Reason.SIGABRT),
        (-signal.SIGSEGV, ["std::bad_alloc"], Reason.SIGSEGV),
        (1, ["std::bad_alloc"], Reason.EXIT),
    ],
)
def test_an_abort_for_lack_of_memory_is_told_from_others_by_its_last_words(code, output, reason):
    assert explain_exit(code, output).reason is reason


def test_a_report_is_json_with_every_field_that_a_person_needs():
    cause = Cause(Reason.EXIT, "it ended")
    report = CrashReport("m", "1", 0, cause, ["last words"], ["a", "b"], 1_000)
    document = json.loads(json.dumps(report.for_clients()))
    assert document.keys() == {
        "id", "time", "model", "version", "instance", "reason", "cause", "requests", "rss_bytes", "output",
    }  # fmt: skip
    assert (document["reason"], document["cause"]) == ("exit", "it ended")
    assert document["requests"] == ["a", "b"]
    assert document["output"] == ["last words"]


def test_every_report_has_a_name_of_its_own():
    cause = Cause(Reason.EXIT, "x")
    assert CrashReport("m", "1", 0, cause).id != CrashReport("m", "1", 0, cause).id


def test_only_the_newest_reports_are_kept():
    exits = Exits()
    for number in range(KEPT + 5):
        exits.reports.append(CrashReport("m", "1", number, Cause(Reason.EXIT, "x")))
    assert [report.instance for report in exits.reports] == list(range(5, KEPT + 5))


def test_ends_are_counted_where_numbers_are_kept_with_those_from_before():
    exits, counts = Exits(), Counter({"oom": 2})
    exits.count(Reason.OOM)
    exits.count_in(counts)
    exits.count(Reason.RECYCLED)
    assert +counts == {"oom": 3, "recycled": 1}
    assert counts.keys() == {reason.value for reason in Reason}
