"""Every recorded call, made to a live server."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.grpc.calls import DIFFERENCES, differences, make, read_cases
from tests.conformance.torchserve.grpc.conftest import MANAGEMENT
from tests.conformance.torchserve.scenarios import steady

CASES = read_cases(Path(__file__).parent)
IDS = [case.id for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_live_server_answers_as_promised(request, case):
    server = request.getfixturevalue(case.file)
    channel, service = server.place(case.method)
    came = make(channel, service, _with_keys(server, case))
    for response in came["responses"]:
        if service is MANAGEMENT:
            response.msg = steady(response.msg.encode()).decode()
    assert differences(came, service, case) == []


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_case_that_differs_says_what_and_why(case):
    assert bool(case.ours) == bool(case.rows)
    assert case.ours.keys() <= DIFFERENCES
    same = [key for key, value in case.ours.items() if case.original.get(key) == value]
    assert same == [], "ours repeats the original"


def test_every_case_has_a_name_of_its_own():
    assert len(set(IDS)) == len(IDS)


def _with_keys(server, case):
    metadata = case.request.get("metadata", {})
    if not metadata:
        return case
    keys = server.running.keys
    metadata = {name: value.format_map(keys) for name, value in metadata.items()}
    return replace(case, request={**case.request, "metadata": metadata})
