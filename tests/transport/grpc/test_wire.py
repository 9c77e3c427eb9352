"""Frames that no good client sends: each is refused, nothing is executed, and the next good call is answered."""

import contextlib
import struct
import time

import h2.events
import psutil
import pytest

from dragoman.config import GrpcSettings
from dragoman.transport.grpc.call import Status
from tests.transport.grpc.live import SERVICE, serve
from tests.transport.grpc.raw import Connection, frame, head

MIB = 2**20
ECHO = f"/{SERVICE}/Echo".encode()
#: HTTP/2's frames, by number.
HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 1, 3, 4, 6, 7, 8, 9
ENHANCE_YOUR_CALM = 11


@pytest.fixture(scope="module")
def live():
    with serve() as live:
        yield live


def raw_frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def test_a_good_call_is_answered(live):
    with Connection(live.port) as client:
        assert client.call(head(ECHO), frame(b"x")) == (Status.OK, "")


@pytest.mark.parametrize(
    "path",
    [
        ECHO[1:],
        b"/" + ECHO,
        ECHO + b"/",
        ECHO.upper(),
        ECHO + b"?x=1",
        ECHO.replace(b"Echo", b"%45cho"),
        ECHO.replace(b"/Echo", b"/../test.Service/Echo"),
        b"/" + SERVICE.encode(),
        b"/",
        b"*",
        b"http://localhost" + ECHO,
        b"/test.Service/\xff\xfe",
        b"/" + b"x" * 10_000,
        ECHO + b"\x00",
    ],
)
def test_a_path_that_is_not_letter_for_letter_a_method_s_is_nobody_s(live, path):
    with Connection(live.port) as client:
        status, _ = client.call(head(path), frame(b"x"))
    assert status in (Status.UNIMPLEMENTED, None)
    assert live.good()


@pytest.mark.parametrize(
    "headers",
    [
        head(ECHO, method=b"GET"),
        head(ECHO, method=b"PUT"),
        head(ECHO, grpc_timeout=b"soon"),
        head(ECHO, grpc_timeout=b"99999999999S"),
        head(ECHO, grpc_encoding=b"br"),
        head(ECHO, x_bin=b"\xff\xff!"),
        head(ECHO)[1:],
        head(ECHO)[:2] + head(ECHO)[3:],
        [*head(ECHO), (b":path", b"/other.Service/Echo")],
    ],
    ids=[
        "GET",
        "PUT",
        "no timeout",
        "long timeout",
        "encoding",
        "no base64",
        "no method",
        "no path",
        "two paths",
    ],
)
def test_a_head_that_is_none_of_grpc_s_does_no_harm(live, headers):
    with Connection(live.port) as client, contextlib.suppress(EOFError, OSError):
        client.call(headers, frame(b"x", compressed=b"br" in dict(headers).values()))
    assert live.good()


def test_a_call_without_a_request_is_refused(live):
    with Connection(live.port) as client:
        assert client.call(head(ECHO)) == (Status.INVALID_ARGUMENT, "the call has no whole request")


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", frame(b"xyz")[:-1], frame(b"x", compressed=1), b"\x02" + frame(b"x")[1:], frame(b"x") * 2],
    ids=["no message", "cut in its head", "cut", "compressed by nothing", "unknown flag", "two messages"],
)
def test_a_body_that_is_not_one_message_does_no_harm(live, body):
    with Connection(live.port) as client, contextlib.suppress(EOFError, OSError):
        client.call(head(ECHO), body)
    assert live.good()


def test_a_length_of_four_gibibytes_allocates_nothing(live):
    process = psutil.Process()
    before = process.memory_info().rss
    with Connection(live.port) as client:
        status, _ = client.call(head(ECHO), b"\x00\xff\xff\xff\xff" + b"x" * 1000)
    assert status in (Status.RESOURCE_EXHAUSTED, Status.INVALID_ARGUMENT)
    assert process.memory_info().rss - before < 64 * MIB
    assert live.good()


def test_more_streams_than_allowed_wait_or_are_refused():
    with serve(options=GrpcSettings(streams=10)) as live, Connection(live.port) as client:
        client.receive()  # the server's settings
        block = client.h2.encoder.encode(head(ECHO))
        for number in range(1, 31, 2):
            client.sock.sendall(raw_frame(HEADERS, 4, number, block))
        assert client.end() is not None or live.server.in_flight <= 10
        assert live.good()


def rapid_resets(client):
    block = client.h2.encoder.encode(head(ECHO))
    for number in range(1, 40_001, 2):
        yield raw_frame(HEADERS, 4, number, block) + raw_frame(RST_STREAM, 0, number, b"\0\0\0\x08")


def endless_head(client):
    yield raw_frame(HEADERS, 0, 1, client.h2.encoder.encode(head(ECHO)))
    for _ in range(4096):
        yield raw_frame(CONTINUATION, 0, 1, b"\x00\x01k\x7f\x80\x7d" + b"v" * 16_000)


FLOODS = {
    "rapid resets": rapid_resets,
    "an endless head": endless_head,
    "settings": lambda client: (raw_frame(SETTINGS, 0, 0) * 100 for _ in range(1000)),
    "pings": lambda client: (raw_frame(PING, 0, 0, b"12345678") * 100 for _ in range(1000)),
    "empty data": lambda client: (raw_frame(0, 0, 1) * 100 for _ in range(1000)),
    "window updates": lambda client: (raw_frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") for _ in range(10)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_own_connection_and_nothing_else(live, name):
    process = psutil.Process()
    before = process.memory_info().rss
    with Connection(live.port) as client:
        client.sock.settimeout(20)
        with contextlib.suppress(OSError):  # the server has heard enough
            for data in FLOODS[name](client):
                client.sock.sendall(data)
        assert live.good()
    assert process.memory_info().rss - before < 64 * MIB


def test_pings_too_many_send_a_client_away():
    with serve() as live, Connection(live.port) as client:
        for _ in range(5):
            client.h2.ping(b"12345678")
            client.flush()
            time.sleep(0.01)  # apart, so that each is one too early
        goodbye = client.end()
        assert isinstance(goodbye, h2.events.ConnectionTerminated)
        assert goodbye.error_code == ENHANCE_YOUR_CALM
        assert goodbye.additional_data == b"too_many_pings"


def test_pings_are_welcome_where_the_operator_says_so():
    options = GrpcSettings(max_ping_strikes=0, min_ping_interval=0, keepalive_without_calls=True)
    with serve(options=options) as live, Connection(live.port) as client:
        for _ in range(10):
            client.h2.ping(b"12345678")
            client.flush()
            while not any(isinstance(event, h2.events.PingAckReceived) for event in client.receive()):
                pass
        assert client.call(head(ECHO), frame(b"x")) == (Status.OK, "")


def everything(client):
    """All bytes until the server closes the connection; nothing is sent."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.sock.recv(65_536):
            received += data
    return received


def pinged(client):
    return any(isinstance(event, h2.events.PingReceived) for event in client.receive())


def test_a_silent_client_is_asked_whether_it_is_there_and_closed_if_it_says_nothing():
    options = GrpcSettings(
        keepalive_time=0.1, keepalive_timeout=0.3, keepalive_without_calls=True, max_pings_without_data=0
    )
    with serve(options=options) as live, Connection(live.port) as client:
        for _ in range(3):
            while not pinged(client):
                pass
        assert client.call(head(ECHO), frame(b"x")) == (Status.OK, "")
        with Connection(live.port) as silent:
            assert raw_frame(PING, 0, 0, bytes(8))[:5] in everything(silent)


def test_without_calls_nobody_is_asked_unless_the_operator_says_so():
    options = GrpcSettings(keepalive_time=0.1, keepalive_timeout=0.1)
    with serve(options=options) as live, Connection(live.port) as client:
        client.sock.settimeout(1)
        client.receive()  # the server's settings
        with contextlib.suppress(TimeoutError):
            while True:
                assert not pinged(client)
        assert client.call(head(ECHO), frame(b"x")) == (Status.OK, "")


def test_a_connection_that_is_old_is_asked_to_go():
    options = GrpcSettings(connection_age=0.2, connection_age_grace=0.2)
    with serve(options=options) as live, Connection(live.port) as client:
        assert raw_frame(GOAWAY, 0, 0)[3:] in everything(client)
        assert live.good()
