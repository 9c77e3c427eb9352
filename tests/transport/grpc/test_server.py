"""What every engine behind the door has to do, seen through grpcio's own client."""

import errno
import gc
import socket
import threading
import time
from queue import SimpleQueue

import grpc
import psutil
import pytest

from dragoman.config import GrpcSettings
from dragoman.errors import Code, DragomanError, InvalidInput
from dragoman.transport.grpc import exchange
from dragoman.transport.grpc.call import Call, Shape, Status
from dragoman.transport.grpc.routes import Route, Routes
from dragoman.transport.grpc.status import STATUS
from tests.transport.grpc.live import SERVICE, Held, Live, refused, serve, unary
from tests.transport.live import PATIENCE

MIB = 2**20


@pytest.fixture(params=["asyncio", "uvloop"])
def live(request):
    with serve(request.param) as live:
        yield live


def stream(channel, method="EchoStream"):
    return channel.stream_stream(f"/{SERVICE}/{method}")


class Outgoing:
    """Requests of a stream, sent when a test says so."""

    def __init__(self):
        self._given = SimpleQueue()
        self.send = self._given.put

    def end(self):
        self.send(None)

    def __iter__(self):
        return self

    def __next__(self):
        message = self._given.get()
        if message is None:
            raise StopIteration
        return message


# Messages.


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 5 * MIB])
def test_a_message_is_answered_by_a_message(live, size):
    message = bytes(size)
    assert live.unary("Echo", message) == message


def test_many_calls_share_a_connection(live):
    call = unary(live.channel(), "Echo")
    futures = [call.future(b"%d" % number, timeout=PATIENCE) for number in range(500)]
    assert [future.result() for future in futures] == [b"%d" % number for number in range(500)]


def test_a_server_s_stream_comes_whole_and_in_order(live):
    call = live.channel().unary_stream(f"/{SERVICE}/Count")
    assert list(call(b"0", timeout=PATIENCE)) == []
    assert list(call(b"1000", timeout=PATIENCE)) == [b"%d" % number for number in range(1000)]


def test_messages_go_both_ways_on_a_stream(live):
    outgoing = Outgoing()
    answers = stream(live.channel())(outgoing, timeout=PATIENCE)
    for message in (b"a", b"", b"c" * MIB):
        outgoing.send(message)
        assert next(answers) == message
    outgoing.end()
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


def test_a_thousand_streams_are_open_on_one_connection_at_once(live):
    call = stream(live.channel())
    outgoing = [Outgoing() for _ in range(1000)]
    answers = [call(each, timeout=PATIENCE) for each in outgoing]
    for number, each in enumerate(outgoing):
        each.send(b"%d" % number)
    assert [next(each) for each in answers] == [b"%d" % number for number in range(1000)]
    assert live.server.in_flight == 1000
    for each in outgoing:
        each.end()
    assert [list(each) for each in answers] == [[]] * 1000


# What a handler sees.


def test_a_handler_sees_method_peer_metadata_and_deadline(live):
    future = unary(live.channel(), "Held").future(
        b"x", timeout=50, metadata=[("x-key", "value"), ("x-key", "other"), ("x-raw-bin", b"\xff")]
    )
    call = live.held.wait()
    assert call.method == f"/{SERVICE}/Held"
    assert call.peer.startswith("ipv4:127.0.0.1:")
    assert call.header(b"x-key") == "value"
    assert call.header(b"x-raw-bin") is None
    assert call.header(b"x-other") is None
    assert 0 < call.deadline - time.monotonic() < 51  # gRPC rounds up
    live.call(call.respond, b"y")
    assert future.result() == b"y"


def test_without_a_timeout_there_is_no_deadline(live):
    future = unary(live.channel(), "Held").future(b"x")
    call = live.held.wait()
    assert call.deadline is None
    live.call(call.respond, b"y")
    future.result(PATIENCE)


# How calls end.


def test_an_error_has_the_status_of_its_code(live):
    assert refused(lambda: live.unary("Missing")) == (Status.NOT_FOUND, "nothing is called that")


def test_a_bug_is_told_by_a_number_only(live):
    status, text = refused(lambda: live.unary("Bug"))
    assert status is Status.INTERNAL
    assert "secret" not in text
    assert "log under id" in text


def test_every_code_has_its_status():
    assert set(STATUS) == set(Code)


def test_a_long_text_is_cut_to_what_clients_take(live):
    future = unary(live.channel(), "Held").future(b"x", timeout=PATIENCE)
    live.call(live.held.wait().fail, Status.INVALID_ARGUMENT, "é" * 100_000)
    assert future.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert 500 < len(future.details()) <= 2000


def test_what_comes_after_the_end_is_ignored(live):
    future = unary(live.channel(), "Held").future(b"x", timeout=PATIENCE)
    call = live.held.wait()
    live.call(call.respond, b"first")
    live.call(call.respond, b"second")
    live.call(call.fail, Status.INTERNAL, "third")
    live.call(call.send, b"fourth")
    live.call(call.end)
    assert future.result() == b"first"


def test_a_stream_may_fail_after_part_of_its_answer(live):
    answers = stream(live.channel(), "HeldStream")(iter([]), timeout=PATIENCE)
    call = live.held.wait()
    live.call(call.send, b"part")
    assert next(answers) == b"part"
    live.call(call.fail, Status.DATA_LOSS, "the rest is gone")
    assert refused(lambda: next(answers)) == (Status.DATA_LOSS, "the rest is gone")


@pytest.mark.parametrize("method", ["Held", "HeldStream", "Watch"])
def test_a_client_that_cancels_is_told_of_and_gives_back_its_permit(live, method):
    channel = live.channel()
    if method == "Held":
        future = unary(channel, method).future(b"x")
    elif method == "HeldStream":
        future = stream(channel, method)(Outgoing())
    else:
        future = channel.unary_stream(f"/{SERVICE}/{method}")(b"x")
    call = live.held.wait()
    assert live.server.in_flight == 1
    future.cancel()
    live.held.wait_for_leaving()
    assert live.server.in_flight == 0
    live.call(call.respond, b"too late")


def test_a_client_that_closes_its_connection_is_told_of(live):
    channel = live.channel()
    future = unary(channel, "Held").future(b"x")
    live.held.wait()
    channel.close()
    live.held.wait_for_leaving()
    assert live.server.in_flight == 0
    assert future.done()


def test_when_the_deadline_has_passed_both_sides_know(live):
    future = unary(live.channel(), "Held").future(b"x", timeout=0.2)
    call = live.held.wait()
    live.held.wait_for_leaving()
    assert future.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() >= call.deadline


def test_nothing_is_told_of_leaving_after_an_answer(live):
    for _ in range(20):
        future = unary(live.channel(), "Held").future(b"x", timeout=PATIENCE)
        live.call(live.held.wait().respond, b"y")
        assert future.result() == b"y"
        future.cancel()
    assert live.held.left == []


# Admission.


def test_without_a_permit_a_call_is_refused_at_once_but_for_health():
    with serve(requests=1) as live:
        future = unary(live.channel(), "Held").future(b"x", timeout=PATIENCE)
        call = live.held.wait()
        assert refused(lambda: live.unary("Echo")) == (Status.UNAVAILABLE, "the server is overloaded")
        assert live.unary("Health", b"well") == b"well"
        live.call(call.respond, b"y")
        future.result()
        assert live.unary("Echo", b"again") == b"again"


def test_the_guard_is_asked_before_anything_is_read():
    def guard(route: Route, call: Call) -> None:
        assert call.message == b""
        if call.header(b"key") != route.operation:
            raise Denied("not without the key")

    with serve(guard=guard) as live:
        assert refused(lambda: live.unary("Echo")) == (Status.PERMISSION_DENIED, "not without the key")
        assert live.unary("Echo", b"x", metadata=[("key", "inference")]) == b"x"
        assert live.unary("Health", b"x", metadata=[("key", "health")]) == b"x"


class Denied(DragomanError):
    code = Code.FORBIDDEN


@pytest.mark.parametrize("over", [1, MIB])
def test_a_message_over_the_limit_is_refused(over):
    with serve(body_bytes=MIB) as live:
        assert live.unary("Echo", bytes(MIB)) == bytes(MIB)
        assert refused(lambda: live.unary("Echo", bytes(MIB + over)))[0] is Status.RESOURCE_EXHAUSTED
        answers = stream(live.channel())(iter([bytes(MIB + over)]), timeout=PATIENCE)
        assert refused(lambda: list(answers))[0] is Status.RESOURCE_EXHAUSTED
        assert live.good()


def test_a_message_of_64_mebibytes_goes_there_and_back_and_leaves_nothing():
    process = psutil.Process()
    with serve(body_bytes=64 * MIB) as live:
        assert live.unary("Echo", bytes(MIB)) == bytes(MIB)
        before = process.memory_info().rss
        for _ in range(4):
            assert live.unary("Echo", bytes(64 * MIB)) == bytes(64 * MIB)
        assert live.good()
    gc.collect()
    assert process.memory_info().rss - before < 192 * MIB  # four of them, there and back, are 512


def test_metadata_beyond_the_limits_is_refused():
    with serve() as live:
        many = [(f"k{number}", "v") for number in range(10_000)]
        assert refused(lambda: live.unary("Echo", metadata=many))[0] is Status.RESOURCE_EXHAUSTED
        big = [("k", "v" * 100_000)]
        assert refused(lambda: live.unary("Echo", metadata=big))[0] is Status.RESOURCE_EXHAUSTED
        assert live.good()


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_read_and_one_that_inflates_too_much_is_not(algorithm):
    with serve(body_bytes=MIB) as live:
        assert live.unary("Echo", bytes(MIB), compression=algorithm) == bytes(MIB)
        bomb = bytes(200 * MIB)
        status = refused(lambda: live.unary("Echo", bomb, compression=algorithm))[0]
        assert status is Status.RESOURCE_EXHAUSTED
        assert live.good()


def test_a_request_that_does_not_come_is_waited_for_no_longer_than_a_silent_client():
    with serve(idle_timeout=0.2) as live:
        call = live.channel().stream_unary(f"/{SERVICE}/Echo")
        status, text = refused(lambda: call(Outgoing(), timeout=PATIENCE))
        assert (status, text) == (Status.DEADLINE_EXCEEDED, "the request took more than 0.2 s to arrive")


def test_a_client_that_does_not_read_is_given_up():
    with serve(write_timeout=0.3) as live:
        answers = stream(live.channel(), "HeldStream")(Outgoing())
        call = live.held.wait()
        live.call(call.send, bytes(20 * MIB))  # more than a connection's window
        live.held.wait_for_leaving()
        assert call.unsent == 0
        answers.cancel()


def test_answers_do_not_pile_up_without_end(monkeypatch):
    monkeypatch.setattr(exchange, "MAX_WAITING", 8 * MIB)
    with serve() as live:
        answers = stream(live.channel(), "HeldStream")(Outgoing())
        call = live.held.wait()
        for _ in range(200):  # far more than what may lie in sockets and windows on the way
            live.call(call.send, bytes(MIB))
        live.held.wait_for_leaving()
        assert refused(lambda: list(answers))[0] is not Status.OK


def test_a_sender_hears_when_all_is_sent(live):
    answers = stream(live.channel(), "HeldStream")(Outgoing())
    call = live.held.wait()
    sent = threading.Event()
    call.on_sent = sent.set
    live.call(call.send, bytes(MIB))
    assert next(answers) == bytes(MIB)
    assert sent.wait(PATIENCE)
    assert call.unsent == 0
    answers.cancel()


# Stopping.


def stopping(live: Live, grace: float):
    return live.submit(live.server.stop(grace))


def test_accepted_calls_are_answered_when_the_server_stops(live):
    channel = live.channel()
    call = unary(channel, "Held")
    futures = [call.future(b"x", timeout=PATIENCE) for _ in range(5)]
    calls = [live.held.wait() for _ in futures]
    stopped = stopping(live, PATIENCE)
    other = live.channel()
    assert refused(lambda: unary(other, "Echo")(b"x", timeout=5))[0] in (
        Status.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED,
    )
    assert not stopped.done()
    for each in live.held.calls[: len(calls)]:
        live.call(each.respond, b"y")
    assert [future.result() for future in futures] == [b"y"] * 5
    stopped.result(PATIENCE)


def test_streams_are_told_to_come_to_their_end_when_the_server_stops(live):
    outgoing = Outgoing()
    answers = stream(live.channel())(outgoing, timeout=PATIENCE)
    outgoing.send(b"before")
    assert next(answers) == b"before"
    stopped = stopping(live, PATIENCE)
    assert refused(lambda: next(answers)) == (Status.UNAVAILABLE, "the server is stopping")
    stopped.result(PATIENCE)


def test_calls_without_a_permit_do_not_keep_the_server(live):
    answers = live.channel().unary_stream(f"/{SERVICE}/Watch")(b"x")
    live.held.wait()
    stopping(live, PATIENCE).result(PATIENCE)
    assert refused(lambda: next(answers))[0] is Status.UNAVAILABLE


def test_who_has_no_answer_when_the_grace_is_over_is_told(live):
    future = unary(live.channel(), "Held").future(b"x", timeout=PATIENCE)
    live.held.wait()
    stopping(live, 0.1).result(PATIENCE)
    assert refused(future.result) == (Status.UNAVAILABLE, "the server is stopping")


def test_a_server_that_was_never_started_can_be_stopped(live):
    other = live.call(lambda: type(live.server)(live.routes, live.limits, GrpcSettings()))
    live.run(other.stop(1))


# The rest.


def test_an_address_that_is_taken_is_told_by_its_number():
    with socket.socket() as taken, serve() as live:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = live.call(lambda: type(live.server)(live.routes, live.limits, GrpcSettings()))
        with pytest.raises(OSError) as caught:
            live.run(other.start("127.0.0.1", taken.getsockname()[1]))
        assert caught.value.errno == errno.EADDRINUSE


def test_every_call_has_a_line_in_the_access_log():
    lines = []
    with serve(access=lambda *line: lines.append(line)) as live:
        assert live.unary("Echo", b"12345") == b"12345"
        refused(lambda: live.unary("Missing", b"123"))
        refused(lambda: live.channel().unary_unary("/no/such")(b"", timeout=PATIENCE))
    seen = [(who, path, status, got, sent) for who, path, status, seconds, got, sent in lines if seconds >= 0]
    assert seen == [
        ("gRPC", f"/{SERVICE}/Echo", Status.OK, 5, 5),
        ("gRPC", f"/{SERVICE}/Missing", Status.NOT_FOUND, 3, 0),
        ("gRPC", "/no/such", Status.UNIMPLEMENTED, 0, 0),
    ]


@pytest.mark.parametrize("level", ["none", "low", "high"])
def test_answers_are_compressed_as_hard_as_the_operator_says(level):
    with serve(options=GrpcSettings(compression=level)) as live:
        assert live.unary("Echo", bytes(MIB)) == bytes(MIB)
        call = live.channel().stream_stream(f"/{SERVICE}/EchoStream")
        assert list(call(iter([bytes(MIB)] * 3), timeout=PATIENCE)) == [bytes(MIB)] * 3


def test_routes_take_known_operations_and_each_path_once():
    routes = Routes()
    routes.add("a.B", "C", Shape.UNARY, Held(), "health")
    with pytest.raises(ValueError, match=r"/a\.B/C has a handler already"):
        routes.add("a.B", "C", Shape.UNARY, Held(), "health")
    with pytest.raises(ValueError, match="unknown operation 'heath'"):
        routes.add("a.B", "D", Shape.UNARY, Held(), "heath")
    assert routes.services() == ["a.B"]
    assert [route.path for route in routes] == ["/a.B/C"]


def test_errors_are_caught_where_a_stream_asks(live):
    def ask(call: Call) -> None:
        call.receive(lambda message: None)
        with pytest.raises(RuntimeError, match="asked for already"):
            call.receive(lambda message: None)
        raise InvalidInput("enough")

    answers = stream(live.channel(), "HeldStream")(Outgoing(), timeout=PATIENCE)
    call = live.held.wait()
    with pytest.raises(InvalidInput):
        live.call(ask, call)
    answers.cancel()
