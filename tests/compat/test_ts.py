"""The names that handler files import, and the small things they do with them."""

import asyncio
import importlib
import json
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

import dragoman.compat.ts.context
from dragoman.compat import install
from dragoman.compat.ts.handler_utils.text_utils import get_tokenizer, ngrams_iterator
from dragoman.compat.ts.metrics import metric_cache_errors as wrong
from dragoman.compat.ts.metrics.dimension import Dimension
from dragoman.compat.ts.metrics.metric import Metric
from dragoman.compat.ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from dragoman.compat.ts.metrics.metric_type_enum import MetricTypes
from dragoman.compat.ts.metrics.metrics_store import MetricsStore
from dragoman.compat.ts.service import emit_metrics
from dragoman.compat.ts.utils.timeit_decorator import timeit
from dragoman.compat.ts.utils.util import (
    PredictionException,
    get_yaml_config,
    list_classes_from_module,
    load_label_mapping,
    map_class_to_label,
)

#: What handlers import, and whether it takes PyTorch.
NAMES = [
    ("ts", "__version__", False),
    ("ts.version", "__version__", False),
    ("ts.context", "Context", False),
    ("ts.service", "emit_metrics", False),
    ("ts.utils.util", "PredictionException", False),
    ("ts.utils.util", "get_yaml_config", False),
    ("ts.utils.util", "list_classes_from_module", False),
    ("ts.utils.util", "load_label_mapping", False),
    ("ts.utils.util", "map_class_to_label", False),
    ("ts.utils.timeit_decorator", "timeit", False),
    ("ts.metrics.dimension", "Dimension", False),
    ("ts.metrics.metric_type_enum", "MetricTypes", False),
    ("ts.metrics.metrics_store", "MetricsStore", False),
    ("ts.metrics.metric", "Metric", False),
    ("ts.metrics.unit", "Units", False),
    ("ts.metrics.caching_metric", "CachingMetric", False),
    ("ts.metrics.metric_cache_yaml_impl", "MetricsCacheYamlImpl", False),
    ("ts.protocol.otf_message_handler", "create_predict_response", False),
    ("ts.protocol.otf_message_handler", "send_intermediate_predict_response", False),
    ("ts.handler_utils.utils", "send_intermediate_predict_response", False),
    ("ts.handler_utils.utils", "import_class", False),
    ("ts.handler_utils.timer", "timed", False),
    ("ts.handler_utils.micro_batching", "MicroBatching", False),
    ("ts.handler_utils.hf_batch_streamer", "TextIteratorStreamerBatch", False),
    ("ts.handler_utils.text_utils", "get_tokenizer", False),
    ("ts.handler_utils.text_utils", "ngrams_iterator", False),
    ("ts.torch_handler.contractions", "CONTRACTION_MAP", False),
    ("ts.torch_handler.request_envelope.base", "BaseEnvelope", False),
    ("ts.torch_handler.request_envelope.body", "BodyEnvelope", False),
    ("ts.torch_handler.request_envelope.json", "JSONEnvelope", False),
    ("ts.torch_handler.request_envelope.kserve", "KServeEnvelope", False),
    ("ts.torch_handler.request_envelope.kservev2", "KServev2Envelope", False),
    ("ts.torch_handler.base_handler", "BaseHandler", True),
    ("ts.torch_handler.vision_handler", "VisionHandler", True),
    ("ts.torch_handler.image_classifier", "ImageClassifier", True),
    ("ts.torch_handler.image_segmenter", "ImageSegmenter", True),
    ("ts.torch_handler.object_detector", "ObjectDetector", True),
    ("ts.torch_handler.densenet_handler", "DenseNetHandler", True),
    ("ts.torch_handler.text_handler", "TextHandler", True),
    ("ts.torch_handler.text_classifier", "TextClassifier", True),
]


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, marks=[pytest.mark.torch] if torch else []) for module, name, torch in NAMES],
)
def test_a_name_that_handlers_import_is_there(module: str, name: str, request: pytest.FixtureRequest) -> None:
    install("ts")
    if request.node.get_closest_marker("torch"):
        pytest.importorskip("torch")
    assert hasattr(importlib.import_module(module), name)


def test_a_module_is_one_under_both_its_names() -> None:
    install("ts")
    install("ts")
    ts = importlib.import_module("ts")
    context = importlib.import_module("ts.context")
    assert context is dragoman.compat.ts.context
    assert ts.context is context
    assert context.__spec__ is not None
    assert context.__spec__.name == "dragoman.compat.ts.context"
    assert ts.__version__ == "0.12.0"
    found = pickle.loads(pickle.dumps(Dimension("a", 1)))
    assert str(found) == "a:1"


def test_ours_comes_before_another_package_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ts.py").write_text("OTHER = True")
    monkeypatch.setattr(
        sys, "meta_path", [each for each in sys.meta_path if getattr(each, "name", "") != "ts"]
    )
    for name in [name for name in sys.modules if name == "ts" or name.startswith("ts.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.import_module("ts").OTHER
    install("ts")
    assert not hasattr(importlib.import_module("ts"), "OTHER")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ts.torch_handler.vllm_handler", "needs vLLM"),
        ("ts.torch_handler.trt_llm_handler", "TensorRT-LLM"),
        ("ts.torch_handler.dali_image_classifier", "DALI"),
        ("ts.torch_handler.distributed.base_pippy_handler", "several processes"),
        ("ts.handler_utils.distributed.deepspeed", "several processes"),
        ("ts.launcher", "dragoman serve"),
    ],
)
def test_what_is_not_offered_says_so(name: str, reason: str) -> None:
    install("ts")
    with pytest.raises(ImportError, match=reason):
        importlib.import_module(name)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ts.nosuch")


def test_labels_are_read_in_every_form(tmp_path: Path) -> None:
    file = tmp_path / "index_to_name.json"
    assert load_label_mapping(file) is None
    file.write_text('{"0": "cat", "1": ["n02", "dog"]}')
    assert load_label_mapping(str(file)) == {"0": "cat", "1": "dog"}
    file.write_text('{"object_type_names": {"1": "person"}}')
    assert load_label_mapping(file) == {"1": "person"}
    for text in ("[]", '{"0": 5}', '{"0": [5]}'):
        file.write_text(text)
        with pytest.raises(TypeError, match="index_to_name"):
            load_label_mapping(file)


def test_labels_go_with_their_values() -> None:
    assert map_class_to_label([[0.5, 0.25]], {"0": "a", "3": "b"}, [[3, 0]]) == [{"b": 0.5, "a": 0.25}]
    assert map_class_to_label([[0.5, 0.25], [1.0, 0.0]]) == [{"0": 0.5, "1": 0.25}, {"0": 1.0, "1": 0.0}]
    assert map_class_to_label([]) == []
    with pytest.raises(TypeError):
        map_class_to_label("text")
    with pytest.raises(TypeError):
        map_class_to_label([[1]], ["a"])  # type: ignore[arg-type]


def test_classes_are_those_written_in_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "classes_of_mine.py").write_text(
        "from json import JSONDecoder\nclass A: ...\nclass B(A): ..."
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("classes_of_mine")
    assert [each.__name__ for each in list_classes_from_module(module)] == ["A", "B"]
    assert [each.__name__ for each in list_classes_from_module(module, module.B)] == ["B"]
    utils = importlib.import_module("dragoman.compat.ts.handler_utils.utils")
    assert utils.import_class("classes_of_mine.A") is module.A
    assert utils.import_class("decoder.JSONDecoder", "json") is json.JSONDecoder
    with pytest.raises(ImportError):
        utils.import_class("nosuch.A")


def test_texts_become_tokens_and_their_neighbours() -> None:
    words = get_tokenizer("basic_english")
    assert (
        " ".join(words('You can "install" it now: using pip!<br />')) == "you can install it now using pip !"
    )
    assert get_tokenizer(None)("Two words") == ["Two", "words"]
    assert get_tokenizer(words) is words
    for name, language in (("spacy", "en"), ("basic_english", "de")):
        with pytest.raises(ValueError, match=f"{name}|English"):
            get_tokenizer(name, language)
    assert list(ngrams_iterator(["here", "we", "are"], 3)) == [
        *("here", "we", "are"),
        *("here we", "we are"),
        "here we are",
    ]


def test_small_helps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").write_text("a: [1]")
    assert get_yaml_config(tmp_path / "a.yaml") == {"a": [1]}
    (tmp_path / "a.yaml").write_text("")
    assert get_yaml_config(str(tmp_path / "a.yaml")) == {}
    (tmp_path / "a.yaml").write_text("[1]")
    with pytest.raises(TypeError, match=r"a\.yaml"):
        get_yaml_config(tmp_path / "a.yaml")
    assert str(PredictionException("no", 404)) == "no : 404"
    assert PredictionException("no").error_code == 500
    caplog.set_level(logging.INFO)
    assert timeit(len)("abc") == 3
    assert "len took" in caplog.text


def test_metrics_of_one_name_may_have_other_dimensions_later(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[Any] = []
    metrics = MetricsCacheYamlImpl(take=lambda *value: taken.append(value))
    metrics.model_name = "m"
    mine = [Dimension("Color", "red")]
    metrics.add_counter("c", 1, dimensions=mine)
    metrics.add_counter("c", 1)
    assert [each.name for each in mine] == ["Color"]
    assert [(value, list(values)) for _, value, values, _ in taken] == [
        (1, ["red", "m", "Model"]),
        (1, ["m", "Model"]),
    ]
    assert metrics.cache_keys() == ["counter:c"]
    metrics.get_metric("c").update(4, "r1", [Dimension("New", 1)])
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("[METRICS]c.Count:4|#New:1|#type:COUNTER|#hostname")
    )
    assert taken[-1][1:] == (4, [1], "r1")


def test_wrong_metrics_are_refused_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    metrics: Any = MetricsCacheYamlImpl()
    with pytest.raises(wrong.MetricsCacheValueError):
        metrics.add_time("t", 1, unit="h")
    with pytest.raises(ValueError, match="kB"):
        metrics.add_size("s", 1, unit="TB")
    for arguments in [(1, "ms"), ("a", 1), ("a", "ms", "Level"), ("a", "ms", 3), ("a", "ms", [], "counter")]:
        with pytest.raises(wrong.MetricsCacheTypeError):
            metrics.add_metric_to_cache(*arguments)
    with pytest.raises(wrong.MetricsCacheKeyError):
        metrics.get_metric("nosuch")
    with pytest.raises(wrong.MetricsCacheTypeError):
        metrics.get_metric("nosuch", "counter")
    counter = metrics.add_metric_to_cache("c", "count", ["Level"])
    counter.add_or_update(1, [])
    counter.add_or_update(-1, ["x"])
    assert "don't fit" in caplog.text
    assert "can't go down" in caplog.text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("model_metrics: {nosuch: []}", wrong.MetricsCacheKeyError),
        ("model_metrics: {gauge: [{name: a}]}", wrong.MetricsCacheKeyError),
        ("other: 1", wrong.MetricsCacheValueError),
        ("{", wrong.MetricsCachePyYamlError),
    ],
)
def test_a_metrics_file_is_checked(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(error):
        MetricsCacheYamlImpl(str(tmp_path / "m.yaml")).initialize_cache()
    with pytest.raises(wrong.MetricsCacheIOError):
        MetricsCacheYamlImpl(str(tmp_path / "nosuch.yaml"))


def test_the_old_store_keeps_what_is_written_later(capsys: pytest.CaptureFixture[str]) -> None:
    store = MetricsStore({0: "a"}, "m")
    store.add_counter("c", 2)
    assert capsys.readouterr().out == ""
    emit_metrics(store.store)
    assert capsys.readouterr().out.startswith("[METRICS]c.Count:2|#ModelName:m,Level:Model|#type:COUNTER|")
    assert MetricTypes("histogram") is MetricTypes.HISTOGRAM
    old = Metric("n", 1, "ms", [], metric_method="counter")
    old.update(2)
    assert str(old).startswith("n.Milliseconds:3|#|#hostname:")


def test_an_envelope_waits_for_a_coroutine() -> None:
    from dragoman.compat.ts.context import Context, RequestProcessor
    from dragoman.compat.ts.torch_handler.request_envelope.json import JSONEnvelope

    async def later(data: Any, context: Any) -> Any:
        return [row + 1 for row in data]

    context = Context("m", "", {}, 1, None, "0.12.0")
    context.request_processor = [RequestProcessor({})]
    found = asyncio.run(JSONEnvelope(later).handle([{"body": {"instances": [1, 2]}}], context))
    assert [json.loads(each) for each in found] == [{"predictions": [2, 3]}]


def test_a_context_answers_for_each_request() -> None:
    from dragoman.compat.ts.context import Context, RequestProcessor

    context = Context("m", "", {}, 2, 0, "0.12.0")
    context.set_response_status(500)
    assert context.get_request_id() is None
    context.request_processor = [RequestProcessor({"A": "1"}), RequestProcessor({})]
    assert context.get_request_header(0, "a") is None
    context.set_all_response_status(201, "Made")
    context.set_response_content_type(1, "text/plain")
    assert context.get_response_status(1) == (201, "Made")
    assert context.get_response_content_type(0) is None
    assert context.request_processor[1].get_response_header("content-type") == "text/plain"
    assert context.get_sequence_id(0) is None
    assert not context.is_sequence_start(0)
