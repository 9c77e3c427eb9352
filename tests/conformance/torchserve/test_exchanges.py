"""Every recorded exchange, sent to a live server as raw bytes."""

from pathlib import Path

import pytest

from tests.conformance.exchange import DIFFERENCES, differences, read_cases, send, to_bytes

CASES = read_cases(Path(__file__).parent)
IDS = [case.id for case in CASES]
SERVERS = {"inference": "alone", "results": "several", "kserve": "envelopes"}
FIXED = {
    "pragma": "no-cache",
    "cache-control": "no-cache; no-store, must-revalidate, private",
    "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
}
NOT_OURS = ("transport-errors", "options-star")  # rows of answers that are given before there is a dialect


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_live_server_answers_as_promised(request, case):
    server = request.getfixturevalue(SERVERS[case.file])
    head_only = case.request.get("request", "").startswith("HEAD")
    answer = send(server.port, to_bytes(case), head_only=head_only)
    assert differences(answer, case.expected) == []
    if not set(case.rows) & set(NOT_OURS):
        assert {name: answer.headers[name] for name in FIXED} == FIXED
        assert len(answer.headers["x-request-id"]) == 36


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_case_that_differs_says_what_and_why(case):
    assert bool(case.ours) == bool(case.rows)
    assert case.ours.keys() <= DIFFERENCES
    same = [key for key, value in case.ours.items() if case.original.get(key) == value]
    assert same == [], "ours repeats the original"


def test_every_case_has_a_name_of_its_own():
    assert len(set(IDS)) == len(IDS)
