import pytest

from dragoman.config import TracingSettings
from dragoman.errors import ConfigError
from dragoman.tracing.context import Parent, parse, write
from dragoman.tracing.opening import open_tracer
from dragoman.tracing.passage import Passage
from dragoman.types import InferRequest

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(f"00-{TRACE}-{SPAN}-01", True), (f"00-{TRACE}-{SPAN}-00", False), (f"cc-{TRACE}-{SPAN}-03-more", True)],
)
def test_a_parent_is_read(header, sampled):
    assert parse(header) == Parent(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_what_is_no_parent_begins_a_new_trace(header):
    assert parse(header) is None


def test_what_is_written_is_what_is_read():
    assert parse(write(int(TRACE, 16), int(SPAN, 16))) == Parent(int(TRACE, 16), int(SPAN, 16), True)


def passage():
    passage = Passage(10.0, 10.25)
    for submitted, started, finished in ((10.5, 11.0, 12.0), (12.0, 12.5, 14.0)):
        request = InferRequest("m", ())
        passage.enter(request, "m", "1", "v2")
        request.moments.submitted = submitted
        request.moments.started, request.moments.finished = started, finished
    return passage


def test_the_rooms_follow_each_other():
    rooms = [(room.name, room.begin, room.end) for room in passage().rooms(15.0)]
    assert rooms == [
        ("transport", 10.0, 10.25),
        ("decode", 10.25, 10.5),
        ("queue", 10.5, 11.0),
        ("execute", 11.0, 12.0),
        ("queue", 12.0, 12.5),
        ("execute", 12.5, 14.0),
        ("encode", 14.0, 15.0),
    ]


def test_a_client_is_told_milliseconds_those_of_several_models_added():
    assert passage().timing(15.0) == (
        "transport;dur=250.000, decode;dur=250.000, queue;dur=1000.000, execute;dur=2500.000,"
        " encode;dur=1000.000, total;dur=5000.000"
    )


def test_a_request_that_no_model_saw_has_passed_the_transport_only():
    assert [room.name for room in Passage(1.0, 2.0).rooms(3.0)] == ["transport"]


def test_copies_for_a_shadow_are_no_part_of_it():
    made = Passage(1.0, 1.0)
    request = InferRequest("m", ())
    made.enter(request, "m", "2", "shadow")
    assert (made.asked, request.moments) == ([], None)


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x/", "http://"])
def test_an_endpoint_that_is_no_url_is_told_at_start(endpoint):
    with pytest.raises(ConfigError, match=r"tracing\.endpoint"):
        open_tracer(TracingSettings(endpoint=endpoint), "1")
