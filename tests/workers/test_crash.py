"""A death is told in words that a person understands, and nothing of the machine's insides with it."""

import json
import signal

import pytest

from dragoman.workers.crash import CrashReport, explain_exit


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGSEGV, "SIGSEGV (native code used memory that isn't its own)"),
        (-signal.SIGKILL, "SIGKILL (killed from outside"),
        (-signal.SIGABRT, "SIGABRT (native code gave up)"),
        (-signal.SIGUSR1, "SIGUSR1"),
        (-250, "signal 250"),
    ],
)
def test_an_exit_code_in_words(code, words):
    assert words in explain_exit(code)


def test_a_report_is_json_with_every_field_that_a_person_needs():
    report = CrashReport("m", "1", 0, "it ended", ["last words"], ["a", "b"], 1_000)
    document = json.loads(json.dumps(report.for_clients()))
    assert document.keys() == {
        "id", "time", "model", "version", "instance", "cause", "requests", "rss_bytes", "output",
    }  # fmt: skip
    assert document["requests"] == ["a", "b"]
    assert document["output"] == ["last words"]


def test_every_report_has_a_name_of_its_own():
    assert CrashReport("m", "1", 0, "x").id != CrashReport("m", "1", 0, "x").id
