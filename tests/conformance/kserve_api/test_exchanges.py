"""Every recorded exchange with KServe's server, made with a program of its Python API that is run unchanged."""

from pathlib import Path

import grpc
import pytest

from tests.conformance.exchange import DIFFERENCES, differences, read_cases, send, to_bytes
from tests.conformance.grpc import calls
from tests.conformance.grpc.test_exchanges import SERVICE
from tests.program import Program

HERE = Path(__file__).parent
CASES = [case for case in read_cases(HERE) if case.file != "repository"]
TALK = [case for case in read_cases(HERE) if case.file == "repository"]
CALLS = calls.read_cases(HERE.parent / "grpc" / "kserve_api")
CALLED_TALK = calls.read_cases(HERE.parent / "grpc" / "kserve_repository")
ALL = [*CASES, *TALK, *CALLS, *CALLED_TALK]


@pytest.fixture(scope="module")
def program():
    with Program("zoo.py") as program:
        yield program


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_program_answers_as_promised(program, case):
    assert differences(send(program.port, to_bytes(case)), case.expected) == []


@pytest.mark.parametrize("case", CALLS, ids=[case.id for case in CALLS])
def test_a_program_answers_calls_as_promised(program, case):
    with grpc.insecure_channel(program.grpc) as channel:
        assert calls.differences(calls.make(channel, SERVICE, case), SERVICE, case) == []


def test_a_program_keeps_up_a_conversation_about_loading_and_unloading():
    wrong = {}
    with Program("zoo.py") as program, grpc.insecure_channel(program.grpc) as channel:
        for case in TALK:
            if found := differences(send(program.port, to_bytes(case)), case.expected):
                wrong[case.name] = found
        for case in CALLED_TALK:
            if found := calls.differences(calls.make(channel, SERVICE, case), SERVICE, case):
                wrong[case.name] = found
    assert wrong == {}


def test_an_explanation_has_no_header_of_the_request(program):
    # row: explain-headers
    explain = next(case for case in CASES if case.request["request"].endswith("identity:explain"))
    answer = send(program.port, to_bytes(explain))
    assert not {"host", "accept-encoding", "authorization"} & answer.headers.keys()


@pytest.mark.parametrize("case", ALL, ids=[case.id for case in ALL])
def test_a_case_that_differs_says_what_and_why(case):
    assert bool(case.ours) == bool(case.rows)
    assert case.ours.keys() <= DIFFERENCES | calls.DIFFERENCES
    assert [key for key, value in case.ours.items() if case.original.get(key) == value] == []
