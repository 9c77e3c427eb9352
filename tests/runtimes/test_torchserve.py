"""Handlers without PyTorch: what they are given, what becomes of their results, and how they are found."""

import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragoman.errors import ConfigError, InvalidInput, PredictionFailed
from dragoman.types import InferRequest, InferResponse, Tensor

from .conftest import ask, text
from .torchserve_models import answer, form, load, part, post, post_json, raw, unpack

pytestmark = pytest.mark.usefixtures("clean_modules")

SEEN = """
    def show(value):
        if isinstance(value, bytearray):
            return ["bytearray", value.decode()]
        return [type(value).__name__, value]

    def handle(data, context):
        if data is None:
            return None
        return [
            {
                "rows": len(data),
                "row": {name: show(value) for name, value in row.items()},
                "headers": context.get_all_request_header(place),
                "id": context.get_request_id(place),
                "model": context.model_name,
                "manifest": context.manifest["model"],
                "config": context.model_yaml_config,
                "properties": {**context.system_properties, "model_dir": ""},
            }
            for place, row in enumerate(data)
        ]
"""

ANY_RESULT = """
    from ts.utils.util import PredictionException

    def handle(data, context):
        if data is None:
            return None
        rows, mode = len(data), (data[0].get("body") or b"").decode()
        if mode == "not a list":
            return {"oops": 1}
        if mode == "wrong length":
            return [1] * (rows + 1)
        if mode == "own status":
            raise PredictionException("there is no such thing", 404)
        if mode == "odd status":
            raise PredictionException("something odd", 513)
        if mode == "memory":
            raise MemoryError("x")
        if mode == "gpu memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB")
        if mode == "exception":
            raise ValueError("boom inside")
        if mode == "exit":
            raise SystemExit(3)
        if mode == "type":
            context.set_response_content_type(0, "text/html; charset=utf-8")
        if mode == "header":
            context.set_response_header(0, "X-Mine", "v1")
        if mode == "status":
            context.set_response_status(code=418, phrase="Teapot", idx=0)
        return [{
            "str": "plain é", "bytes": b"\\x00raw", "bytearray": bytearray(b"ab"), "dict": {"a": 1, "b": [1.5, "x"]},
            "list": [1, 2], "none": None, "int": 7, "unserializable": object(),
        }.get(mode, mode)] * rows
"""

EACH_ROW = """
    class Handler:
        def initialize(self, context):
            self.calls = []

        def handle(self, data, context):
            self.calls.append(len(data))
            if any(row.get("body") == b"bad" for row in data):
                raise ValueError("a bad row")
            return [{"place": place, "of": len(data), "calls": self.calls} for place in range(len(data))]
"""


@pytest.fixture
def model(tmp_path: Path) -> Any:
    numbers = itertools.count()

    def model(code: str, **options: Any) -> Any:
        return load(unpack(tmp_path / f"m{next(numbers)}", handler=code), **options)

    return model


def no_part(place: int, response: InferResponse) -> None:
    raise AssertionError("nothing should be sent in parts")


def test_a_bare_function_sees_body_headers_and_context(model: Any) -> None:
    seen = answer(model(SEEN, batch_size=4), post(b"hello", User_Agent="curl/8", url_path=""))
    assert seen == {
        "rows": 1,
        "row": {"body": ["bytearray", "hello"]},
        "headers": {
            "body": {"content-type": ""},
            "explain": "False",
            "User-Agent": "curl/8",
            "url_path": "",
        },
        "id": "r1",
        "model": "m",
        "manifest": {"modelName": "m", "modelVersion": "1.0", "handler": "handler.py"},
        "config": {},
        "properties": {
            "model_dir": "",
            "gpu_id": None,
            "batch_size": 4,
            "server_name": "MMS",
            "server_version": "0.12.0",
            "limit_max_image_pixels": True,
        },
    }


@pytest.mark.parametrize(
    ("request_", "row"),
    [
        (post('{"a": [1, null]}', "application/json"), {"body": ["dict", {"a": [1, None]}]}),
        (post('{"a": [1', "application/json"), {"body": ["bytearray", '{"a": [1']}),
        (post("text é", "text/plain"), {"body": ["str", "text é"]}),
        (post("x", "application/octet-stream"), {"body": ["bytearray", "x"]}),
        (form(), {}),
        (
            form(part("data", b"hello"), part("j", b"[1]", "application/json"), part("t", b"x", "text/csv")),
            {"data": ["bytearray", "hello"], "j": ["list", [1]], "t": ["str", "x"]},
        ),
        (
            form(part("d", b"first", "text/plain"), part("d", b"second", "text/plain")),
            {"d": ["str", "second"]},
        ),
    ],
)
def test_a_part_is_decoded_by_its_type(
    model: Any, request_: InferRequest, row: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert answer(model(SEEN), request_)["row"] == row


def test_text_that_is_not_utf8_stays_bytes_and_decoding_can_be_off(model: Any) -> None:
    code = "def handle(data, context):\n    return data and [type(row['body']).__name__ for row in data]"
    assert raw(model(code).execute(post(b"\xff\xfe", "text/plain"))) == b"bytearray"
    off = model(code, decode_input_request=False)
    assert raw(off.execute(post("[1]", "application/json"))) == b"bytearray"
    assert raw(off.execute(post("x", "text/plain"))) == b"bytearray"


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        ("str", "plain é".encode()),
        ("bytes", b"\x00raw"),
        ("bytearray", b"ab"),
        ("dict", b'{\n  "a": 1,\n  "b": [\n    1.5,\n    "x"\n  ]\n}'),
        ("list", b"[\n  1,\n  2\n]"),
        ("none", b"null"),
        ("int", b"7"),
    ],
)
def test_an_item_is_written_by_its_kind(model: Any, mode: str, body: bytes) -> None:
    response = model(ANY_RESULT).execute(post(mode))
    assert raw(response) == body
    assert (response.model, response.version, response.id, response.final) == ("m", "1.0", "r1", True)
    assert response.parameters == {"status": 200, "reason": "", "headers": {}}


def test_a_handler_sets_status_headers_and_type(model: Any) -> None:
    runtime = model(ANY_RESULT)
    assert runtime.execute(post("status")).parameters == {"status": 418, "reason": "Teapot", "headers": {}}
    assert runtime.execute(post("header")).parameters["headers"] == {"X-Mine": "v1"}
    assert runtime.execute(post("type")).parameters == {
        "status": 200,
        "reason": "",
        "headers": {},
        "content_type": "text/html; charset=utf-8",
    }
    assert runtime.execute(post("str")).parameters == {"status": 200, "reason": "", "headers": {}}


@pytest.mark.parametrize(
    ("mode", "status", "message"),
    [
        ("not a list", 503, "Invalid model predict output"),
        ("wrong length", 503, "number of batch response mismatched"),
        ("unserializable", 503, "Unsupported model output data type."),
        ("own status", 404, "there is no such thing"),
        ("odd status", 513, "something odd"),
        ("memory", 507, "Out of resources"),
        ("gpu memory", 507, "Out of resources"),
        ("exception", 503, "Prediction failed"),
        ("exit", 503, "Prediction failed"),
    ],
)
def test_a_failure_has_the_recorded_status_and_message_for_the_whole_batch(
    model: Any, mode: str, status: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = model(ANY_RESULT).execute_requests([post(mode), post(mode)], no_part)
    assert [(type(each), each.status, each.message) for each in outcomes] == [
        (PredictionFailed, status, message)
    ] * 2
    assert caplog.records


def test_the_log_has_the_exception_and_the_client_does_not(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PredictionFailed) as caught:
        model(ANY_RESULT).execute(post("exception"))
    assert "boom" not in caught.value.message
    assert "ValueError: boom inside" in caplog.text
    assert "handler.py" in caplog.text


def test_a_batch_is_one_call_and_ids_tell_its_requests_apart(model: Any) -> None:
    outcomes = model(EACH_ROW).execute_requests([post(id="a"), post(id="a"), post(id="")], no_part)
    assert [json.loads(raw(each))["place"] for each in outcomes] == [0, 1, 2]
    assert [each.id for each in outcomes] == ["a", "a", ""]
    assert json.loads(raw(outcomes[0]))["calls"] == [3]
    code = (
        "def handle(data, context):\n    return data and [len(set(context.request_ids.values()))] * len(data)"
    )
    outcomes = model(code).execute_requests([post(id="a"), post(id="a"), post(id="")], no_part)
    assert raw(outcomes[0]) == b"3"


def test_explanations_and_descriptions_go_alone(model: Any) -> None:
    requests = [post(id="1"), post(id="2", explain="True"), post(id="3"), post(id="4", describe="True")]
    outcomes = model(EACH_ROW).execute_requests(requests, no_part)
    assert [json.loads(raw(each))["of"] for each in outcomes] == [2, 1, 2, 1]
    assert [each.id for each in outcomes] == ["1", "2", "3", "4"]


def test_a_bad_row_fails_alone_where_the_operator_wants_it(model: Any) -> None:
    batch = [post("good"), post("bad"), post("good")]
    assert all(
        isinstance(each, PredictionFailed) for each in model(EACH_ROW).execute_requests(batch, no_part)
    )
    outcomes = model(EACH_ROW, isolate_failures=True).execute_requests(batch, no_part)
    assert [isinstance(each, PredictionFailed) for each in outcomes] == [False, True, False]


def test_an_item_that_cannot_be_written_fails_alone(model: Any) -> None:
    code = "def handle(data, context):\n    return data and [1, object()]"
    good, bad = model(code).execute_requests([post(), post()], no_part)
    assert raw(good) == b"1"
    assert (bad.message, bad.status) == ("Unsupported model output data type.", 503)


STREAM = """
    from ts.{module} import send_intermediate_predict_response

    def handle(data, context):
        if data is None:
            return None
        context.set_response_content_type(0, "text/event-stream")
        for word in ("one ", "two "):
            items = [word + row["body"].decode() for row in data]
            send_intermediate_predict_response(items, context.request_ids, "", 200, context)
        return ["last"] * len(data)
"""


@pytest.mark.parametrize("module", ["handler_utils.utils", "protocol.otf_message_handler"])
def test_parts_of_an_answer_are_sent_while_the_handler_works(model: Any, module: str) -> None:
    parts: list[tuple[int, InferResponse]] = []
    outcomes = model(STREAM.format(module=module)).execute_requests(
        [post("A"), post("B", id="r2")], lambda place, response: parts.append((place, response))
    )
    assert [(place, raw(each)) for place, each in parts] == [
        (0, b"one A"),
        (1, b"one B"),
        (0, b"two A"),
        (1, b"two B"),
    ]
    assert not any(each.final for _, each in parts)
    assert parts[0][1].parameters == {
        "status": 200,
        "reason": "",
        "headers": {},
        "content_type": "text/event-stream",
    }
    assert [(raw(each), each.final) for each in outcomes] == [(b"last", True)] * 2


def test_parts_go_to_the_right_places_beside_requests_that_go_alone(model: Any) -> None:
    parts: list[int] = []
    model(STREAM.format(module="handler_utils.utils")).execute_requests(
        [post("A", id="1", explain="True"), post("B", id="2")], lambda place, response: parts.append(place)
    )
    assert parts == [0, 0, 1, 1]


def test_the_socket_a_handler_finds_takes_what_create_predict_response_makes(model: Any) -> None:
    code = """
        from ts.protocol.otf_message_handler import create_predict_response

        def handle(data, context):
            if data is None:
                return None
            ids = {0: context.get_request_id(0)}
            context.cl_socket.sendall(create_predict_response([1], ids, "", 200, context, True))
            return [2]
    """
    parts: list[bytes] = []
    model(code).execute_requests([post()], lambda place, response: parts.append(raw(response)))
    assert parts == [b"1"]


def test_sequences_that_the_handler_ends_are_noted(model: Any) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            context.set_response_header(0, "ts_request_sequence_end", "a; b")
            return ["x"]
    """
    for config in ({}, {"continuousBatching": True}):
        (response,) = model(code, model_yaml_config=config).execute_requests([post()], no_part)
        assert response.parameters["ended_sequences"] == ["a", "b"]
        assert response.parameters["headers"] == {"ts_request_sequence_end": "a; b"}


def test_a_sequence_is_known_by_its_headers(model: Any) -> None:
    code = """
        class Sums:
            def initialize(self, context):
                self.sums = {}

            def handle(self, data, context):
                result = []
                for place, row in enumerate(data):
                    known = context.get_sequence_id(place)
                    if context.is_sequence_start(place):
                        self.sums[known] = 0
                    self.sums[known] += int(row["body"])
                    result.append(self.sums[known])
                    if context.is_sequence_end(place):
                        del self.sums[known]
                return result
    """
    runtime = model(code)

    def add(value: int, sequence: str, **more: str) -> bytes:
        return raw(runtime.execute(post(str(value), ts_request_sequence_id=sequence, **more)))

    assert add(1, "s1", ts_request_sequence_start="true") == b"1"
    assert add(10, "s2", ts_request_sequence_start="true") == b"10"
    assert add(2, "s1") == b"3"
    assert add(3, "s1", ts_request_sequence_end="true") == b"6"
    with pytest.raises(PredictionFailed):
        add(1, "s1")


def test_coroutines_are_run_to_their_end_on_one_loop(model: Any) -> None:
    code = """
        import asyncio

        class Later:
            async def initialize(self, context):
                self.loop = asyncio.get_running_loop()

            async def handle(self, data, context):
                await asyncio.sleep(0)
                return [asyncio.get_running_loop() is self.loop] * len(data)

            async def close(self):
                print("closed")
    """
    runtime = model(code, envelope="body")
    assert raw(runtime.execute(post())) == b"true"
    runtime.close()


def test_a_handlers_own_metrics_are_written_and_kept(model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
        from ts.metrics.dimension import Dimension
        from ts.metrics.metric_type_enum import MetricTypes

        class Measured:
            def initialize(self, context):
                self.kept = context.metrics.add_metric_to_cache("Kept", "count", ["Model"], MetricTypes.COUNTER)

            def handle(self, data, context):
                metrics = context.metrics
                metrics.add_counter("Asked", 1)
                metrics.add_metric("Things", value=2, unit="things", dimensions=[Dimension("Color", "red")])
                metrics.add_time("Time", 1.5, idx=1)
                metrics.add_size("Size", 3.0, unit="kB")
                metrics.add_percent("Share", 55.0)
                metrics.add_metric("Hist", value=4.0, unit="ms", metric_type=MetricTypes.HISTOGRAM)
                metrics.add_error("Wrong", 1)
                self.kept.add_or_update(5, ["mine"])
                return ["ok"] * len(data)
    """
    runtime = model(code, each_metric=True)
    runtime.execute_requests([post(id="a"), post(id="b")], no_part)
    lines = [line.split("#hostname:") for line in capsys.readouterr().out.splitlines()]
    own = "#ModelName:m,Level:Model"
    assert [line[0] for line in lines[:-1]] == [
        f"[METRICS]Asked.Count:1|{own}|#type:COUNTER|",
        "[METRICS]Things.things:2|#Color:red,ModelName:m,Level:Model|#type:COUNTER|",
        f"[METRICS]Time.Milliseconds:1.5|{own}|#type:GAUGE|",
        f"[METRICS]Size.Kilobytes:3.0|{own}|#type:GAUGE|",
        f"[METRICS]Share.Percent:55.0|{own}|#type:GAUGE|",
        f"[METRICS]Hist.Milliseconds:4.0|{own}|#type:HISTOGRAM|",
        "[METRICS]Wrong.:1|#Level:Error|#type:COUNTER|",
        "[METRICS]Kept.Count:5|#Model:mine|#type:COUNTER|",
    ]
    assert lines[-1][0].startswith("[METRICS]PredictionTime.Milliseconds:")
    assert lines[0][1].endswith(",a,b")
    assert lines[2][1].endswith(",b")
    taken = runtime.metrics.take()
    assert [(each.name, each.value) for each in taken][:2] == [("Asked", 1), ("Things", 2)]
    assert len(taken) == 9
    assert runtime.metrics.take() == []


def test_metrics_need_not_be_written(model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = model("def handle(data, context): return [1]", print_metrics=False)
    runtime.execute(post())
    assert [each.name for each in runtime.metrics.take()] == ["PredictionTime"]
    assert capsys.readouterr().out == ""


def test_no_reader_of_metrics_is_no_failure(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    runtime = model("def handle(data, context): return [1]")
    monkeypatch.setattr(sys, "stdout", Gone())
    assert answer(runtime, post()) == 1
    assert answer(runtime, post()) == 1


def test_an_id_cannot_forge_lines(model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    response = model("def handle(data, context): return [1]").execute(post(id="a\n[METRICS]forged"))
    assert response.id == "a\n[METRICS]forged"
    assert "forged" not in capsys.readouterr().out


def test_the_models_folder_can_be_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unpack(
        tmp_path / "m",
        handler="import pathlib\ntext = pathlib.Path('data.txt').read_text()\ndef handle(d, c): return [text]",
    )
    (tmp_path / "m" / "data.txt").write_text("mine")
    assert raw(load(Path("m"), chdir=True).execute(post())) == b"mine"


def test_declared_metrics_are_found_by_kind_and_name(model: Any, tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").write_text(
        "model_metrics:\n  gauge:\n    - {name: Depth, unit: MB, dimensions: [Level]}\n"
    )
    code = """
        from ts.metrics.metric_type_enum import MetricTypes

        def handle(data, context):
            if data is None:
                return None
            context.metrics.get_metric("Depth", MetricTypes.GAUGE).add_or_update(3, ["deep"])
            return [1]
    """
    runtime = model(code, metrics_config=str(tmp_path / "metrics.yaml"))
    runtime.execute(post())
    depth = runtime.metrics.take()[0]
    assert depth[:5] == ("Depth", "gauge", "MB", (("Level", "deep"),), 3)


ROWS = """
    class Rows:
        def initialize(self, context):
            pass

        def handle(self, data, context):
            if context.get_request_header(0, "explain") == "True":
                return [[float(len(data))]]
            return [row["data"] if isinstance(row, dict) else row for row in data]
"""


def test_kserves_first_protocol_in_its_envelope(model: Any) -> None:
    runtime = model(ROWS, envelope="kserve")
    assert answer(runtime, post_json({"instances": [1, {"data": 2}]})) == {"predictions": [1, 2]}
    assert answer(runtime, post(b'{"instances": ["a"]}')) == {"predictions": ["a"]}
    assert answer(runtime, post_json({"instances": [1]}, explain="True")) == {"explanations": [[1.0]]}
    for body in ('{"foo": 1}', "garbage"):
        with pytest.raises(PredictionFailed, match="Prediction failed"):
            runtime.execute(post(body, "application/json"))


def test_every_request_of_a_batch_is_read_from_its_envelope(model: Any) -> None:
    batch = [post_json({"instances": [1, 2]}), post_json({"instances": [3]})]
    outcomes = model(ROWS, envelope="kserve").execute_requests(batch, no_part)
    assert [json.loads(raw(each)) for each in outcomes] == [{"predictions": [1, 2]}, {"predictions": [3]}]


def v2(name: str, *data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [len(data)], "data": list(data)}


def test_the_open_inference_protocol_in_its_envelope(model: Any) -> None:
    runtime = model(ROWS, envelope="kservev2")
    body = {"id": "abc", "inputs": [v2("input-0", 1, 2)]}
    assert answer(runtime, post_json(body)) == {
        "id": "abc",
        "model_name": "m",
        "model_version": "1.0",
        "outputs": [{"name": "input-0", "datatype": "INT64", "data": [1, 2], "shape": [2]}],
    }
    found = answer(runtime, post_json({"inputs": [v2("a", 1.5), v2("b", 2.5)]}))
    assert found["id"] == "r1"
    assert [each["name"] for each in found["outputs"]] == ["a", "b"]
    explained = answer(runtime, post_json({"inputs": [v2("a", 1.5)]}, explain="True"))
    assert explained["outputs"] == [{"name": "a", "datatype": "FP64", "data": [1.0], "shape": [1]}]
    batch = [post_json({"inputs": [v2("a", 1)]}), post_json({"id": "2", "inputs": [v2("b", 2), v2("c", 3)]})]
    outcomes = [json.loads(raw(each)) for each in runtime.execute_requests(batch, no_part)]
    assert [[each["name"] for each in outcome["outputs"]] for outcome in outcomes] == [["a"], ["b", "c"]]


def test_tensorflows_json_and_the_bare_body_in_their_envelopes(model: Any) -> None:
    body = post_json({"instances": [{"b64": "aGk="}, {"data": "x"}, 3]})
    code = (
        "def handle(data, context):\n"
        "    return data and [row.decode() if isinstance(row, bytes) else row for row in data]"
    )
    assert answer(model(code, envelope="json"), body) == {"predictions": ["hi", {"data": "x"}, 3]}
    assert answer(model(code, envelope="body"), post_json([1, 2])) == [1, 2]


def test_an_envelope_may_be_the_models_own(tmp_path: Path) -> None:
    envelope = """
        from ts.torch_handler.request_envelope.base import BaseEnvelope

        class Doubling(BaseEnvelope):
            def parse_input(self, data):
                return [row["body"] for row in data]

            def format_output(self, data):
                return [item * 2 for item in data]
    """
    code = "def handle(data, context):\n    return data and [row + 1 for row in data]"
    directory = unpack(tmp_path / "m", manifest={"envelope": "doubling"}, handler=code, doubling=envelope)
    assert answer(load(directory), post_json(1)) == 4


ECHO_BODY = "def handle(data, context):\n    return data and [row['body'] for row in data]"


def test_tensors_of_another_dialect_reach_the_handler_as_json(model: Any) -> None:
    request = ask(x=np.array([[1, 2], [3, 4]], np.int32), t=("BYTES", text("a", "b")))
    (output,) = model(ECHO_BODY).execute(request).outputs
    assert (output.name, output.datatype, output.shape) == ("output-0", "BYTES", (1,))
    assert json.loads(output.data[0]) == {
        "inputs": [
            {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4]},
            {"name": "t", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
        ],
        "id": "7",
    }


@pytest.mark.parametrize(
    ("item", "datatype", "shape", "first"),
    [
        ("[[1, 2], [3, 4]]", "INT64", (2, 2), 1),
        ("[0.5]", "FP64", (1,), 0.5),
        ("True", "BOOL", (), True),
        ("[[1, 2], [3]]", "BYTES", (1,), b"[\n  [\n    1,\n    2\n  ],\n  [\n    3\n  ]\n]"),
        ("'text'", "BYTES", (1,), b"text"),
        ("{'a': 1}", "BYTES", (1,), b'{\n  "a": 1\n}'),
        ("{'predictions': [1.5]}", "FP64", (1,), 1.5),
        ("{'predictions': [{'a': 1}, 'b']}", "BYTES", (2,), b'{\n  "a": 1\n}'),
        ("[]", "BYTES", (1,), b"[]"),
    ],
)
def test_an_item_becomes_a_tensor_for_those_who_sent_tensors(
    model: Any, item: str, datatype: str, shape: tuple[int, ...], first: Any
) -> None:
    runtime = model(f"def handle(data, context):\n    return data and [{item}]")
    (output,) = runtime.execute(ask(x=np.zeros(1))).outputs
    assert (output.name, output.datatype, output.shape) == ("output-0", datatype, shape)
    assert output.data.flat[0] == first


def test_outputs_that_a_handler_names_are_the_tensors(model: Any) -> None:
    runtime = model(ROWS, envelope="kservev2")
    response = runtime.execute(ask(a=np.array([1, 2], np.float32), b=np.array([[1.5]])))
    assert [(each.name, each.datatype, each.shape) for each in response.outputs] == [
        ("a", "FP64", (2,)),
        ("b", "FP64", (1,)),
    ]
    assert response.id == "7"
    v1 = model(ROWS, envelope="kserve").execute(ask(a=np.array([[1, 2], [3, 4]], np.int64)))
    assert v1.outputs[0].data.tolist() == [[1, 2], [3, 4]]
    assert model(ROWS, envelope="kserve").execute(ask(data=np.array([1]), b=np.array([2]))).outputs[
        0
    ].data.tolist() == [1]
    bad = "{'outputs': [{'name': 'x', 'datatype': 'FP9', 'data': [1]}]}"
    with pytest.raises(PredictionFailed, match="Unsupported model output"):
        model(f"def handle(data, context):\n    return data and [{bad}]").execute(ask(x=np.zeros(1)))


def test_a_status_of_the_handlers_is_a_failure_to_those_who_sent_tensors(model: Any) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            context.set_response_status(422, "Unprocessable")
            return ["too small"]
    """
    with pytest.raises(PredictionFailed, match="too small") as caught:
        model(code).execute(ask(x=np.zeros(1)))
    assert caught.value.status == 422


def test_a_client_may_want_some_of_the_outputs(model: Any) -> None:
    runtime = model(ROWS, envelope="kservev2")
    response = runtime.execute(ask(("b",), a=np.array([1.5]), b=np.array([2.5])))
    assert [each.name for each in response.outputs] == ["b"]
    with pytest.raises(InvalidInput, match="no output 'c'; it has: a"):
        runtime.execute(ask(("c",), a=np.array([1.5])))


def test_bytes_that_are_no_text_and_sequences_come_through_from_another_dialect(model: Any) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            (image,) = data[0]["body"]["inputs"][0]["data"]
            return [[len(image), int(context.get_sequence_id(0)), int(context.is_sequence_start(0))]]
    """
    request = InferRequest(
        "m",
        (Tensor("image", "BYTES", part("", b"\xff\xd8\xff").data),),
        parameters={"sequence_id": 5, "sequence_start": True},
    )
    assert model(code).execute(request).outputs[0].data.tolist() == [3, 5, 1]


def test_a_streaming_handler_streams_tensors_too(model: Any) -> None:
    parts: list[Any] = []
    code = STREAM.format(module="handler_utils.utils").replace('row["body"].decode()', '"x"')
    model(code).execute_requests([ask(x=np.zeros(1))], lambda place, response: parts.append(response))
    assert [each.outputs[0].data[0] for each in parts] == [b"one x", b"two x"]


@pytest.mark.parametrize("name", ["own.py:answer", "own:answer", "some/where/own.py:answer"])
def test_a_handler_may_be_a_function_of_any_name(tmp_path: Path, name: str) -> None:
    directory = unpack(
        tmp_path / "m", manifest={"handler": name}, own="def answer(data, context): return [1]"
    )
    assert answer(load(directory), post()) == 1


def test_a_function_may_keep_an_object_that_it_initializes_itself(model: Any) -> None:
    code = """
        class Service:
            initialized = False

            def initialize(self, context):
                properties = context._system_properties
                self.initialized = properties["model_dir"] != ""

        service = Service()

        def handle(data, context):
            if not service.initialized:
                service.initialize(context)
            if data is None:
                return None
            return [service.initialized and context._request_processor[0].get_request_property("A")]
    """
    assert raw(model(code).execute(post(A="1"))) == b"1"


def test_the_operators_handler_and_configuration_win(tmp_path: Path) -> None:
    directory = unpack(
        tmp_path / "m", manifest={"configFile": "c.yaml"}, handler=SEEN, other="def handle(d, c): return [2]"
    )
    (directory / "c.yaml").write_text("minWorkers: 1\nhandler: {key: value}\n")
    assert answer(load(directory), post())["config"] == {"minWorkers": 1, "handler": {"key": "value"}}
    assert answer(load(directory, model_yaml_config={"a": 1}), post())["config"] == {"a": 1}
    assert answer(load(directory, handler="other"), post()) == 2
    given = load(directory, manifest={"model": {"modelName": "given", "handler": "handler.py"}})
    assert answer(given, post())["manifest"]["modelName"] == "given"


def test_a_directory_without_a_manifest_needs_the_operators_handler(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def handle(data, context): return [context.manifest['model']]")
    assert answer(load(tmp_path, handler="mine"), post()) == {"modelName": "m", "modelVersion": "1.0"}
    with pytest.raises(ConfigError, match="names no handler"):
        load(tmp_path)


def test_two_models_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    code = "from helper import NAME\ndef handle(data, context): return [NAME]"
    one = load(unpack(tmp_path / "one", handler=code, helper="NAME = 'one'"))
    two = load(unpack(tmp_path / "two", handler=code, helper="NAME = 'two'"))
    assert raw(one.execute(post())) == b"one"
    assert raw(two.execute(post())) == b"two"


def test_a_model_that_is_loaded_again_runs_its_new_code(tmp_path: Path) -> None:
    code = "from helper import NAME\ndef handle(data, context): return [NAME]"
    old = load(unpack(tmp_path / "m", handler=code, helper="NAME = 'old'"))
    new = load(unpack(tmp_path / "m", handler=code, helper="NAME = 'newer'"))
    assert (raw(old.execute(post())), raw(new.execute(post()))) == (b"old", b"newer")


def test_a_model_does_not_replace_pythons_own_modules(tmp_path: Path) -> None:
    import queue

    directory = unpack(tmp_path / "m", handler="def handle(d, c): return [1]", queue="raise RuntimeError")
    load(directory)
    assert sys.modules["queue"] is queue


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def handle(data, context): raise ValueError('no weights')",
            r"called once.*handler.py:1.*no weights",
        ),
        ("import nosuchmodule", r"importing handler failed at handler.py:1.*nosuchmodule"),
        ("def (", r"importing handler failed at handler.py:1"),
        ("x = 1", "no class"),
        (
            "class A:\n    def handle(self, d, c): ...\nclass B:\n    def handle(self, d, c): ...",
            "it has: A, B",
        ),
        (
            "class Bad:\n    def initialize(self, context): raise RuntimeError('no weights')\n"
            "    def handle(self, d, c): ...",
            r"Bad.initialize failed at handler.py:2: RuntimeError: no weights",
        ),
    ],
)
def test_what_fails_at_load_says_where(model: Any, code: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model(code)


def test_names_that_lead_nowhere_are_said(model: Any, tmp_path: Path) -> None:
    code = "def handle(data, context): ..."
    for option, message in [
        ({"handler": "nosuch"}, "no handler 'nosuch'"),
        ({"handler": "no.such"}, "no handler 'no.such'"),
        ({"handler": "handler:other"}, "no function 'other'"),
        ({"handler": "vllm_handler"}, "needs vLLM"),
        ({"envelope": "nosuch"}, "no envelope 'nosuch'"),
        ({"batch": 3}, "unknown option 'batch'"),
        ({"metrics_config": "nosuch.yaml"}, "can't read nosuch.yaml"),
    ]:
        with pytest.raises(ConfigError, match=message):
            model(code, **option)
    with pytest.raises(ConfigError, match="unpacked directory"):
        load(tmp_path / "nothing")
    (unpack(tmp_path / "m") / "MAR-INF" / "MANIFEST.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load(tmp_path / "m")


def test_code_runs_only_from_trusted_places(tmp_path: Path) -> None:
    directory = unpack(tmp_path / "m", handler="raise RuntimeError")
    with pytest.raises(ConfigError, match="isn't trusted"):
        load(directory, trusted=False)


def test_loading_such_a_model_needs_no_pytorch(tmp_path: Path) -> None:
    import subprocess

    directory = unpack(tmp_path / "m", handler=SEEN)
    code = (
        "import sys; from pathlib import Path\n"
        "from dragoman.runtimes.base import Artifact\n"
        "from dragoman.runtimes.torchserve import TorchServeRuntime\n"
        f"TorchServeRuntime.load(Artifact('m', '1', Path({str(directory)!r}), trusted=True))\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_handlers_own_way_to_end_is_called(model: Any) -> None:
    code = """
        class Closing:
            closed = []

            def handle(self, data, context):
                return [len(self.closed)] * len(data)

            def shutdown(self):
                self.closed.append(1)
    """
    runtime = model(code)
    runtime.close()
    assert raw(runtime.execute(post())) == b"1"
