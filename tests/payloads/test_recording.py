"""What stands between the transport and a handler takes all that the transport itself takes."""

import inspect

import pytest

from dragoman.transport import recording, timing
from dragoman.transport.grpc import recording as grpc_recording
from dragoman.transport.grpc import timing as grpc_timing
from dragoman.transport.grpc.call import Call
from dragoman.transport.request import HttpRequest

PAIRS = [
    (recording.Recording, HttpRequest),
    (grpc_recording.Recording, Call),
    (timing.Timed, HttpRequest),
    (grpc_timing.Timed, Call),
]


def signature(function):
    """Names, kinds and defaults of what it takes."""
    parameters = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


@pytest.mark.parametrize(
    ("recorded", "contract", "name"),
    [
        (recorded, contract, name)
        for recorded, contract in PAIRS
        for name, member in vars(recorded).items()
        if inspect.isfunction(member) and not name.startswith("_") and hasattr(contract, name)
    ],
)
def test_a_method_takes_what_the_contract_says(recorded, contract, name):
    assert signature(getattr(recorded, name)) == signature(getattr(contract, name))


@pytest.mark.parametrize(("recorded", "contract"), PAIRS)
def test_what_a_handler_sets_reaches_the_transport(recorded, contract):
    settable = {name for name in contract.__annotations__ if name.startswith("on_") or name == "trailing"}
    assert settable == {name for name, member in vars(recorded).items() if isinstance(member, property)}
