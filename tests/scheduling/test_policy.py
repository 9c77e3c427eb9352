import pytest

from dragoman.scheduling.policy import Dispatch, DynamicBatching, Immediate, Wait


def test_immediate_sends_one_request_whatever_waits():
    assert Immediate().decide([4, 4, 4], oldest=0, now=0) == Dispatch(1)


@pytest.mark.parametrize(
    ("rows", "waited", "policy", "expected"),
    [
        ([1, 1, 1], 0, DynamicBatching(8), Dispatch(3)),  # no timer: what has queued goes
        ([1] * 20, 0, DynamicBatching(8), Dispatch(8)),
        ([3, 3, 3], 0, DynamicBatching(8), Dispatch(2)),  # a third would overflow
        ([9, 1], 0, DynamicBatching(8), Dispatch(1)),  # too big for company: alone
        ([1, 9], 0, DynamicBatching(8), Dispatch(1)),
        ([1, 1], 0.001, DynamicBatching(8, max_delay=0.005), Wait(0.005)),
        ([1, 1], 0.005, DynamicBatching(8, max_delay=0.005), Dispatch(2)),
        ([4, 4], 0.001, DynamicBatching(8, max_delay=0.005), Dispatch(2)),  # full goes early
        ([8], 0.0, DynamicBatching(8, max_delay=0.005), Dispatch(1)),
        ([1] * 5, 0.0, DynamicBatching(8, max_delay=0.005, preferred=(4,)), Dispatch(4)),
        ([1] * 7, 0.0, DynamicBatching(8, max_delay=0.005, preferred=(2, 6)), Dispatch(6)),
        ([1] * 3, 0.0, DynamicBatching(8, max_delay=0.005, preferred=(4,)), Wait(0.005)),
        ([1] * 3, 0.0, DynamicBatching(8, preferred=(4,)), Dispatch(3)),
    ],
)
def test_dynamic_batching_decides(rows, waited, policy, expected):
    assert policy.decide(rows, oldest=0.0, now=waited) == expected
