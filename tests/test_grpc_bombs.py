"""What a stranger may send over gRPC to make the server fall, swell or hang. It does none of it.

Every bomb is refused as the client's mistake; the next good call is answered; the process is no larger than before.
"""

import grpc
import psutil
import pytest

from dragoman.protobuf.wire import varint
from dragoman.protocols.kserve_v2.messages import ModelInferRequest, ModelInferResponse
from tests.cli.running import Server
from tests.test_bombs import MODELS, NAMES

MIB = 2**20
PATIENCE = 30.0  # seconds without an answer after which the server counts as hung
WHOLE = 60 * MIB  # a message of about as much as is taken
TWICE = 160 * MIB  # it, and its copy: the allocator may keep what they took for the next one
THEIRS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    (folder / "models.py").write_text(MODELS)
    with Server(folder, *(f"models.py:{name}" for name in NAMES)) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server):
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.wait_for("ready")["grpc"], options) as channel:
        infer(channel, good())
        yield channel


def good():
    message = ModelInferRequest(model_name="F32", raw_input_contents=[b"\0\0\xc0?"])
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    return message.SerializeToString()


def infer(channel, message):
    answer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(message, timeout=PATIENCE)
    return ModelInferResponse.FromString(answer)


def refusal(server, channel, message, grows):
    """The text of a bomb's refusal, after which all is as it was before."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, message)
    assert caught.value.code() in THEIRS, caught.value
    assert len(caught.value.details()) < 4096
    assert list(infer(channel, good()).raw_output_contents) == [b"\0\0\xc0?"]
    assert process.memory_info().rss - before < grows
    return caught.value.details()


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def an_input(datatype, *more, name=b"x"):
    return field(5, field(1, name) + field(2, datatype) + b"".join(more))


def contents(number, content):
    return field(5, field(number, content))


def request(*fields, model=b"Echo"):
    return field(1, model) + b"".join(fields)


def distinct_parameters(count):
    return b"".join(field(4, field(1, b"%x" % number) + field(2, b"\x08\x01")) for number in range(count))


MANY = {
    "inputs": b"\x2a\x00" * (WHOLE // 2),
    "outputs": b"\x32\x00" * (WHOLE // 2),
    "raw tensors": b"\x3a\x00" * (WHOLE // 2),
    "parameters": distinct_parameters(1_000_000),
    "fields that nobody knows": b"\xf8\x01\x00" * (WHOLE // 3),
}


@pytest.mark.parametrize("name", MANY)
def test_a_request_of_millions_of_fields(server, channel, name):
    # row: grpc-sizes
    assert "at most 16384" in refusal(server, channel, request(MANY[name]), grows=TWICE)


TYPED = {
    "empty strings": an_input(b"BYTES", b"\x1a\x01\x01", field(5, b"\x42\x00" * (WHOLE // 2))),
    "sizes of a shape": an_input(b"FP32", field(3, b"\x01" * WHOLE)),
    "small numbers": an_input(b"INT64", b"\x1a\x01\x01", contents(3, b"\x01" * WHOLE)),
    "numbers of two bytes": an_input(b"INT64", b"\x1a\x01\x01", contents(3, b"\x81\x01" * (WHOLE // 2))),
    "parameters of a tensor": an_input(b"FP32", distinct_parameters(1_500_000)),
}


@pytest.mark.parametrize("name", TYPED)
def test_what_is_not_raw_is_limited(server, channel, name):
    assert "16777216 bytes in all" in refusal(server, channel, request(TYPED[name]), grows=TWICE)


#: The same, just within the limit: what it takes while it is read is given back.
WITHIN = {
    "empty strings": an_input(b"BYTES", b"\x1a\x01\x01", field(5, b"\x42\x00" * (8 * MIB - 100))),
    "sizes of a shape": an_input(b"FP32", field(3, b"\x02" * (16 * MIB - 100))),
    "numbers of two bytes": an_input(b"INT64", b"\x1a\x01\x01", contents(3, b"\x81\x01" * (8 * MIB - 100))),
    "numbers without packing": an_input(b"INT64", b"\x1a\x01\x01", field(5, b"\x18\x01" * (8 * MIB - 100))),
    "parameters of a tensor": an_input(b"FP32", distinct_parameters(1_000_000)),
}


@pytest.mark.parametrize("name", WITHIN)
def test_what_is_within_the_limit_hangs_nothing_and_stays_nowhere(server, channel, name):
    refusal(server, channel, request(WITHIN[name]), grows=500 * MIB)


def test_fields_that_nobody_knows_do_no_harm(server, channel):
    unknown = b"\xf8\x01\x00" * (5 * MIB)
    message = request(an_input(b"INT64", b"\x1a\x01\x01", field(5, b"\x18\x07" + unknown)))
    assert list(infer(channel, message).raw_output_contents) == [b"\7" + bytes(7)]


LIES = {
    "a shape of more than there is": request(an_input(b"FP32", field(3, varint(2**40))), field(7, b"\0" * 4)),
    "a shape beyond all numbers": request(
        an_input(b"FP32", field(3, varint(2**62) + varint(2**62))), field(7, b"")
    ),
    "a negative size": request(an_input(b"FP32", field(3, varint(2**64 - 1))), field(7, b"")),
    "zero times everything": request(
        an_input(b"FP32", field(3, b"\x00" + varint(2**62) + varint(2**62))), field(7, b"")
    ),
    "strings longer than the tensor": request(
        an_input(b"BYTES", b"\x1a\x01\x01"), field(7, b"\xff\xff\xff\x7f")
    ),
    "strings without end": request(an_input(b"BYTES", b"\x1a\x01\x02"), field(7, b"\1\0\0\0x")),
    "a name of megabytes": request(model=b"m" * (32 * MIB)),
    "an input's name of megabytes": request(
        an_input(b"FP32", b"\x1a\x01\x01", name=b"x" * (8 * MIB)), field(7, b"\0\0")
    ),
    "a name that is no text": request(model=b"\xff\xfe"),
    "twice the same input": request(an_input(b"FP32"), an_input(b"FP32")),
    "messages within messages": request(b"\x2b" * 10_000),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_sizes_is_told_as_one(server, channel, name):
    refusal(server, channel, LIES[name], grows=TWICE)


def test_a_bomb_on_a_stream_costs_its_own_answer_only(server, channel):
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    answers = list(stream(iter([request(MANY["inputs"]), good()]), timeout=PATIENCE))
    assert len(answers) == 2
    assert b"at most 16384" in answers[0]
    assert b"\0\0\xc0?" in answers[1]
