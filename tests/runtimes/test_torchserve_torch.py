"""Handlers with PyTorch: what BaseHandler loads, the stock handlers, explanations of real pictures."""

import base64
import importlib
import io
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets

from dragoman.errors import ConfigError, PredictionFailed
from dragoman.types import InferResponse

from .conftest import ask
from .torchserve_models import answer, form, load, part, post, post_json, raw, unpack

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.usefixtures("clean_modules"),
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

FLOWER = Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg"

NET = """
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(64, 10)

        def forward(self, x):
            return self.linear(x.flatten(1) / 16)
"""

DIGITS = """
    import io

    import numpy as np
    import torch
    from PIL import Image
    from ts.torch_handler.base_handler import BaseHandler

    class DigitHandler(BaseHandler):
        def preprocess(self, data):
            return torch.stack([self.read(row.get("data") or row.get("body")) for row in data]).to(self.device)

        def read(self, value):
            if isinstance(value, dict):
                value = value["data"]
            if isinstance(value, (bytes, bytearray)):
                image = Image.open(io.BytesIO(value)).convert("L").resize((8, 8))
                value = np.asarray(image, dtype=np.float32) / 16
            return torch.as_tensor(np.array(value), dtype=torch.float32).reshape(64)

        def postprocess(self, data):
            return data.argmax(1).tolist()

        def describe_handle(self):
            return {"kind": "digits", "classes": 10}
"""


@pytest.fixture
def unpacked(tmp_path: Path) -> Any:
    """A new directory for each model; the keywords that are not code are the manifest's."""
    numbers = itertools.count()

    def unpacked(manifest: dict[str, str], **files: str) -> Path:
        return unpack(tmp_path / f"m{next(numbers)}", manifest=manifest, **files)

    return unpacked


class Digits(torch.nn.Module):
    """The weights of a fitted logistic regression, as a PyTorch module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.flatten(1) / 16)


@pytest.fixture(scope="module")
def fitted() -> Any:
    from sklearn.linear_model import LogisticRegression

    rows, classes = sklearn.datasets.load_digits(return_X_y=True)
    found = LogisticRegression(max_iter=300).fit(rows / 16, classes)
    module = Digits()
    module.linear.weight.data = torch.tensor(found.coef_, dtype=torch.float32).contiguous()
    module.linear.bias.data = torch.tensor(found.intercept_, dtype=torch.float32)
    return module.eval(), rows, classes


@pytest.fixture
def digits_model(fitted: Any, unpacked: Any) -> Path:
    """An archive with a model file, a state dict and a handler of its own."""
    directory = unpacked({"modelFile": "net.py", "serializedFile": "w.pt"}, handler=DIGITS, net=NET)
    torch.save(fitted[0].state_dict(), directory / "w.pt")
    return directory  # type: ignore[no-any-return]


def no_part(place: int, response: InferResponse) -> None:
    raise AssertionError("nothing should be sent in parts")


def png(pixels: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_subclass_of_base_handler_classifies_digits(digits_model: Path, fitted: Any) -> None:
    _, rows, classes = fitted
    runtime = load(digits_model)
    batch = [post_json(row.tolist()) for row in rows[:50]]
    found = [int(raw(each)) for each in runtime.execute_requests(batch, no_part)]
    assert np.mean(np.array(found) == classes[:50]) > 0.95
    picture = png(rows[0].reshape(8, 8) * 16)
    assert int(raw(runtime.execute(form(part("data", picture, "image/png"))))) == classes[0]
    assert int(raw(runtime.execute(post(picture)))) == classes[0]
    assert answer(runtime, post_json({"data": rows[1].tolist()})) == classes[1]
    assert {each.name for each in runtime.metrics.take()} == {"HandlerTime", "PredictionTime"}


def test_describe_is_the_handlers_word(digits_model: Path) -> None:
    assert answer(load(digits_model), post(describe="True")) == {"kind": "digits", "classes": 10}
    enveloped = load(digits_model, envelope="kserve")
    assert answer(enveloped, post(describe="True")) == {"kind": "digits", "classes": 10}


def test_an_explanation_says_which_pixels_made_the_digit(digits_model: Path, fitted: Any) -> None:
    pytest.importorskip("captum")
    module, rows, classes = fitted
    request = post_json({"data": rows[0].tolist(), "target": int(classes[0])}, explain="True")
    found = np.array(answer(load(digits_model), request)).reshape(8, 8)
    weights = module.linear.weight.detach().numpy()[classes[0]].reshape(8, 8)
    np.testing.assert_allclose(
        found, weights * rows[0].reshape(8, 8) / 16, atol=1e-4
    )  # linear: exactly known


def test_each_of_a_batch_is_explained_for_its_own_target(digits_model: Path, fitted: Any) -> None:
    pytest.importorskip("captum")
    row = fitted[1][0].tolist()
    batch = [
        form(part("data", json.dumps(row).encode(), "application/json"), part("target", b"3"), explain="True")
    ]
    batch.append(form(part("data", json.dumps(row).encode(), "application/json"), explain="True"))
    three, zero = [
        np.array(json.loads(raw(each))) for each in load(digits_model).execute_requests(batch, no_part)
    ]
    assert zero.sum() > three.sum()  # the row shows a zero


def test_an_explanation_without_captum_says_what_is_missing(
    digits_model: Path, fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("captum", "captum.attr"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PredictionFailed, match="needs the Python package 'captum'") as caught:
        load(digits_model).execute(post_json(fitted[1][0].tolist(), explain="True"))
    assert caught.value.status == 501


def scripted(module: Any, path: Path) -> None:
    torch.jit.script(module).save(str(path))


def test_torchscript_needs_no_handler_code(fitted: Any, unpacked: Any) -> None:
    module, rows, _ = fitted
    directory = unpacked({"handler": "base_handler", "serializedFile": "m.pt"})
    scripted(module, directory / "m.pt")
    runtime = load(directory)
    batch = [post_json(row.tolist()) for row in rows[:3]]
    found = [json.loads(raw(each)) for each in runtime.execute_requests(batch, no_part)]
    want = module(torch.tensor(rows[:3], dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found, want, rtol=1e-5)
    np.testing.assert_allclose(
        answer(load(directory, envelope="json"), post_json({"instances": rows[:3].tolist()}))["predictions"],
        want,
        rtol=1e-5,
    )
    (output,) = runtime.execute(ask(x=rows[0].astype(np.float32))).outputs
    assert (output.name, output.datatype) == ("output-0", "FP64")
    np.testing.assert_allclose(output.data, want[0], rtol=1e-5)
    with pytest.raises(PredictionFailed, match="expected numbers as JSON") as caught:
        runtime.execute(post("text", "text/plain"))
    assert caught.value.status == 400


def test_onnx_graphs_and_exported_programs_load_too(fitted: Any, unpacked: Any) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    module, rows, _ = fitted
    want = module(torch.tensor(rows[:1], dtype=torch.float32)).detach().numpy()[0]
    exported = unpacked({"handler": "base_handler", "serializedFile": "m.pt2"})
    program = torch.export.export(module, (torch.zeros(1, 64),))
    torch.export.save(program, exported / "m.pt2")
    np.testing.assert_allclose(answer(load(exported), post_json(rows[0].tolist())), want, rtol=1e-5)

    directory = unpacked({"handler": "base_handler", "serializedFile": "m.onnx"})
    weight = (module.linear.weight / 16).detach().numpy()
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        "digits",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 10])],
        [
            onnx.numpy_helper.from_array(weight, "w"),
            onnx.numpy_helper.from_array(module.linear.bias.detach().numpy(), "b"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, directory / "m.onnx")
    runtime = load(directory)
    np.testing.assert_allclose(answer(runtime, post_json(rows[0].tolist())), want, rtol=1e-4)
    with pytest.raises(PredictionFailed, match="no gradients"):
        runtime.execute(post_json(rows[0].tolist(), explain="True"))


@pytest.mark.parametrize(
    ("pt2", "compiled"),
    [
        ({"compile": {"enable": True, "backend": "eager"}}, True),
        ("eager", True),
        ({"backend": "eager"}, True),
        ({"compile": {"enable": False, "backend": "eager"}}, False),
        ({"backend": "nosuch"}, False),
        ({"export": {"aot_compile": False}}, False),
    ],
)
def test_the_configuration_may_have_a_model_compiled(
    digits_model: Path, fitted: Any, pt2: Any, compiled: bool
) -> None:
    runtime = load(digits_model, model_yaml_config={"pt2": pt2})
    assert isinstance(runtime.handler.model, torch._dynamo.OptimizedModule) == compiled
    assert answer(runtime, post_json(fitted[1][0].tolist())) == 0
    torch._dynamo.reset()


def test_an_archive_without_a_model_is_refused(unpacked: Any) -> None:
    for manifest, message in [
        ({"handler": "base_handler"}, "no model that BaseHandler can load: nothing"),
        ({"handler": "base_handler", "serializedFile": "m.bin"}, "can load: m.bin"),
        ({"handler": "base_handler", "modelFile": "nosuch.py"}, "nosuch.py is missing"),
        ({"handler": "base_handler", "modelFile": "two.py"}, "it has: A, B"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load(unpacked(manifest, two="class A: ...\nclass B: ..."))


def test_steps_are_measured_where_the_configuration_says_so(unpacked: Any, fitted: Any) -> None:
    directory = unpacked({"handler": "base_handler", "serializedFile": "m.pt"})
    scripted(fitted[0], directory / "m.pt")
    runtime = load(directory, model_yaml_config={"handler": {"profile": True}})
    runtime.execute(post_json(fitted[1][0].tolist()))
    assert [each.name for each in runtime.metrics.take()][:3] == [
        "ts_handler_preprocess",
        "ts_handler_inference",
        "ts_handler_postprocess",
    ]


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_pytorchs_profiler_leaves_a_trace(
    digits_model: Path, fitted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENABLE_TORCH_PROFILER", "true")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "traces"))
    assert answer(load(digits_model), post_json(fitted[1][0].tolist())) == 0
    assert list((tmp_path / "traces" / "pytorch_profiler" / "m").glob("*.json"))


MICRO = """
    from digits import DigitHandler
    from ts.handler_utils.micro_batching import MicroBatching

    class MicroHandler(DigitHandler):
        def initialize(self, context):
            super().initialize(context)
            self.sizes = []
            self.handle = MicroBatching(self, micro_batch_size=3, parallelism={"preprocess": 2})

        def inference(self, data):
            self.sizes.append(len(data))
            return super().inference(data)
"""


def test_micro_batching_keeps_order_and_passes_failures_on(unpacked: Any, fitted: Any) -> None:
    manifest = {"modelFile": "net.py", "serializedFile": "w.pt"}
    directory = unpacked(manifest, handler=MICRO, digits=DIGITS, net=NET)
    torch.save(fitted[0].state_dict(), directory / "w.pt")
    runtime = load(directory)
    _, rows, classes = fitted
    batch = [post_json(row.tolist()) for row in rows[:10]]
    found = [int(raw(each)) for each in runtime.execute_requests(batch, no_part)]
    assert found == fitted[0](torch.tensor(rows[:10], dtype=torch.float32)).argmax(1).tolist()
    assert sorted(runtime.handler.sizes) == [1, 3, 3, 3]
    assert [each.name for each in runtime.metrics.take()] == ["HandlerTime", "PredictionTime"]
    runtime.handler.handle.parallelism = {"inference": 2}
    assert runtime.handler.handle.parallelism == {"preprocess": 2, "inference": 2}
    failed = runtime.execute_requests([*batch, post("no picture")], no_part)
    assert {each.message for each in failed} == {"Prediction failed"}
    assert int(raw(runtime.execute(batch[0]))) == classes[0]
    with pytest.raises(ValueError, match="nosuch"):
        runtime.handler.handle.parallelism = {"nosuch": 1}
    assert answer(runtime, post(describe="True"))["kind"] == "digits"


class Colours(torch.nn.Module):
    """Scores of red, green and blue: the picture's mean colours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=[2, 3])


@pytest.fixture
def colours(unpacked: Any) -> Path:
    directory = unpacked({"handler": "image_classifier", "serializedFile": "m.pt"})
    scripted(Colours(), directory / "m.pt")
    names = {"0": ["n01", "red"], "1": ["n02", "green"], "2": "blue"}
    (directory / "index_to_name.json").write_text(json.dumps(names))
    return directory  # type: ignore[no-any-return]


def test_the_stock_image_classifier_names_classes_with_pytorch_and_pillow_alone(colours: Path) -> None:
    runtime = load(colours)
    red = np.zeros((300, 400, 3))
    red[..., 0] = 255
    found = answer(runtime, post(png(red)))
    assert list(found) == ["red", "blue", "green"]
    assert sum(found.values()) == pytest.approx(1)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scores = (np.array([1, 0, 0]) - mean) / deviation
    assert found["red"] == pytest.approx(np.exp(scores[0]) / np.exp(scores).sum(), rel=1e-4)
    grey = answer(runtime, form(part("data", png(np.full((10, 500), 128)), "image/png")))
    assert set(grey) == {"red", "green", "blue"}
    encoded = base64.b64encode(png(red)).decode()
    assert answer(runtime, post_json(encoded)) == found
    assert answer(load(colours, envelope="kserve"), post_json({"instances": [{"data": encoded}]})) == {
        "predictions": [found]
    }
    for sent in (encoded.encode(), png(red)):  # from another dialect
        (output,) = runtime.execute(ask(image=("BYTES", np.array([sent], dtype=object)))).outputs
        assert json.loads(output.data[0]) == found
    (output,) = runtime.execute(ask(image=np.zeros((3, 4, 4), np.float32))).outputs
    assert len(json.loads(output.data[0])) == 3
    tensor = {"name": "x", "shape": [3, 4, 4], "datatype": "FP32", "data": [0.0] * 48}
    found_v2 = answer(load(colours, envelope="kservev2"), post_json({"inputs": [tensor]}))
    assert found_v2["outputs"][0]["datatype"] == "BYTES"
    images = np.array([encoded.encode()] * 2, dtype=object)
    (output,) = load(colours, envelope="kserve").execute(ask(data=("BYTES", images))).outputs
    assert [json.loads(item) for item in output.data] == [found, found]
    numbers = np.zeros((3, 4, 4)).tolist()
    assert list(answer(runtime, post_json(numbers)).values()) == [pytest.approx(1 / 3)] * 3
    with pytest.raises(PredictionFailed, match="no picture") as caught:
        runtime.execute(post(b"\x89PNG but not really"))
    assert caught.value.status == 400
    assert "torchvision" not in sys.modules


def test_a_photograph_is_explained_pixel_by_pixel(colours: Path) -> None:
    pytest.importorskip("captum")
    request = form(part("data", FLOWER.read_bytes(), "image/jpeg"), part("target", b"1"), explain="True")
    red, green, blue = np.array(answer(load(colours), request))
    assert red.shape == (224, 224)
    assert not red.any()
    assert not blue.any()
    picture = ready(FLOWER.read_bytes())
    np.testing.assert_allclose(green, picture[1] / 224**2, rtol=1e-3, atol=1e-9)


def ready(data: bytes) -> Any:
    """A picture as the stock handlers prepare it."""
    from dragoman.compat.ts.torch_handler.image_classifier import ImageClassifier
    from dragoman.compat.ts.torch_handler.images import pillow

    return ImageClassifier.image_processing(pillow.open(io.BytesIO(data))).numpy()


def test_pictures_are_cut_like_torchvision_cuts_them() -> None:
    picture = ready(FLOWER.read_bytes())
    assert picture.shape == (3, 224, 224)
    assert picture.dtype == np.float32
    # What torchvision 0.29 makes of the same file with Resize(256), CenterCrop(224), ToTensor and Normalize.
    np.testing.assert_allclose(picture.mean(axis=(1, 2)), [-0.454633, -0.561812, -0.820876], atol=1e-4)
    np.testing.assert_allclose(picture[:, 100, 50], [1.444045, 0.100140, -0.810980], atol=1e-4)
    assert ready(png(np.zeros((10, 500, 3)))).shape == (3, 224, 224)
    assert ready(png(np.zeros((256, 256, 4)))).shape == (3, 224, 224)


def test_a_handler_may_have_its_own_way_with_pictures(unpacked: Any) -> None:
    code = """
        from ts.torch_handler.image_classifier import ImageClassifier
        from ts.torch_handler.images import CenterCrop, Steps, ToTensor

        class Small(ImageClassifier):
            topk = 1
            image_processing = Steps([CenterCrop(16), ToTensor()])

            def inference(self, data, *args, **kwargs):
                assert data.shape[1:] == (3, 16, 16)
                return super().inference(data, *args, **kwargs)
    """
    directory = unpacked({"serializedFile": "m.pt"}, handler=code)
    scripted(Colours(), directory / "m.pt")
    runtime = load(directory, limit_max_image_pixels=True)
    blue = np.zeros((20, 20, 3))
    blue[..., 2] = 255
    assert list(answer(runtime, post(png(blue)))) == ["2"]
    runtime.handler.set_max_result_classes(2)
    assert len(answer(runtime, post(png(blue)))) == 2


def test_the_limit_of_pixels_can_be_lifted(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = importlib.import_module("PIL.Image")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PredictionFailed):
        load(colours).execute(post(png(np.zeros((30, 30, 3)))))
    assert answer(load(colours, limit_max_image_pixels=False), post(png(np.zeros((30, 30, 3)))))


class Segments(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": x[:, :2]}


class Boxes(torch.nn.Module):
    def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        return [
            {
                "boxes": torch.tensor([[0.0, 0.0, 4.0, 5.0], [1.0, 1.0, 2.0, 2.0]]),
                "labels": torch.tensor([1, 2]),
                "scores": torch.stack([picture.mean(), picture.mean() - 0.5]),
            }
            for picture in pictures
        ]


def test_the_stock_segmenter_and_detector(unpacked: Any) -> None:
    segmenter = unpacked({"handler": "image_segmenter", "serializedFile": "m.pt"})
    scripted(Segments(), segmenter / "m.pt")
    red = np.zeros((224, 224, 3))
    red[..., 0] = 255
    found = np.array(answer(load(segmenter), post(png(red))))
    assert found.shape == (224, 224, 2)
    assert not found[..., 0].any()
    assert (found[..., 1] > 0.5).all()

    detector = unpacked({"handler": "object_detector", "serializedFile": "m.pt"})
    scripted(Boxes(), detector / "m.pt")
    (detector / "index_to_name.json").write_text('{"object_type_names": {"1": "cat", "2": "dog"}}')
    batch = [post(png(np.full((4, 6, 3), 200))), post(png(np.full((9, 3, 3), 10)))]
    one, two = [json.loads(raw(each)) for each in load(detector).execute_requests(batch, no_part)]
    assert one == [{"cat": [0.0, 0.0, 4.0, 5.0], "score": pytest.approx(200 / 255)}]
    assert two == []


TEXT = """
    import torch

    class Sentiment(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.EmbeddingBag(8, 2, mode="sum")

        def forward(self, text, offsets):
            return self.embedding(text, offsets)
"""


def test_the_stock_text_classifier_needs_no_torchtext(unpacked: Any) -> None:
    directory = unpacked(
        {"handler": "text_classifier", "modelFile": "net.py", "serializedFile": "w.pt"}, net=TEXT
    )
    weights = torch.zeros(8, 2)
    weights[1, 1] = weights[2, 0] = 3.0  # good, bad
    weights[3, 0] = 10.0  # not good
    torch.save({"embedding.weight": weights}, directory / "w.pt")
    torch.save({"<unk>": 0, "good": 1, "bad": 2, "not good": 3}, directory / "source_vocab.pt")
    (directory / "index_to_name.json").write_text('{"0": "negative", "1": "positive"}')
    runtime = load(directory)
    texts = ["It's <b>Good</b>!", "bad, bad", "isn't good", "fine"]
    batch = [post(text, "text/plain") for text in texts]
    found = [json.loads(raw(each)) for each in runtime.execute_requests(batch, no_part)]
    assert [round(each["positive"], 2) for each in found] == [0.95, 0.0, 0.0, 0.5]
    assert answer(runtime, post(b"good"))["positive"] > 0.9
    (output,) = runtime.execute(ask(text=("BYTES", np.array([b"good"], dtype=object)))).outputs
    assert json.loads(output.data[0])["positive"] > 0.9
    pytest.importorskip("captum")
    explained = answer(runtime, post("good", "text/plain", explain="True"))
    assert explained[0]
    (directory / "source_vocab.pt").unlink()
    with pytest.raises(ConfigError, match="no vocabulary"):
        load(directory)


def test_a_text_handler_of_ones_own(unpacked: Any) -> None:
    code = """
        from ts.torch_handler.text_handler import TextHandler

        class Words(TextHandler):
            def initialize(self, context):
                self.initialized = True

            def handle(self, data, context):
                return [self._tokenize(self._expand_contractions(row["body"])) for row in data]
    """
    runtime = load(unpacked({}, handler=code))
    found = answer(runtime, post("I can't; DON’T you?", "text/plain"))
    assert found == ["i", "cannot", "do", "not", "you", "?"]


def test_a_tensor_is_answered_as_pytorch_saves_it(unpacked: Any) -> None:
    code = (
        "import torch\ndef handle(data, context):\n    return data and [torch.tensor([1.0, 2.0])] * len(data)"
    )
    runtime = load(unpacked({}, handler=code))
    saved = torch.load(io.BytesIO(raw(runtime.execute(post()))))
    assert saved.tolist() == [1.0, 2.0]
    (output,) = runtime.execute(ask(x=np.zeros(1))).outputs
    assert (output.datatype, output.data.tolist()) == ("FP32", [1.0, 2.0])


def test_weights_that_are_more_than_tensors_load_from_an_archive(unpacked: Any, fitted: Any) -> None:
    directory = unpacked({"modelFile": "net.py", "serializedFile": "w.pt"}, handler=DIGITS, net=NET)
    torch.save(fitted[0], directory / "w.pt")
    assert answer(load(directory), post_json(fitted[1][0].tolist())) == 0


def test_tokens_of_a_language_model_are_streamed_as_words() -> None:
    from dragoman.compat.ts.handler_utils.hf_batch_streamer import TextIteratorStreamerBatch

    class Tokenizer:
        words = ("", "one", " two", " thr", "ee")

        def decode(self, tokens: list[int]) -> str:
            return "".join(self.words[token] for token in tokens)

    streamer = TextIteratorStreamerBatch(Tokenizer(), batch_size=2, skip_prompt=True, timeout=5)
    for tokens in ([[9, 9], [9, 9]], [1, 1], [2, 3], [3, 4]):
        streamer.put(torch.tensor(tokens))
    streamer.end()
    assert list(streamer) == [["", ""], ["one ", "one "], ["two ", ""], ["thr", "three"]]


def test_only_the_first_process_of_a_spread_model_sends_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from dragoman.compat.ts.handler_utils.utils import send_intermediate_predict_response

    monkeypatch.setenv("LOCAL_RANK", "1")
    send_intermediate_predict_response(["x"], {0: "a"}, "", 200, None)
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "0")
    with pytest.raises(RuntimeError, match="while a request is handled"):
        send_intermediate_predict_response(["x"], {0: "a"}, "", 200, None)
