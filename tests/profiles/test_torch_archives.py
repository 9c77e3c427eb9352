"""Archives as people make them with PyTorch, served as `dragoman torchserve` serves them and asked over HTTP."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
import sklearn.datasets

from tests.profiles.archives import write_archive
from tests.profiles.running import INFERENCE, serving

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")
pytest.importorskip("yaml")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(x.flatten(1))
"""

#: Pictures or numbers, one for each row; Captum explains it, as BaseHandler does for whoever has no get_insights.
DIGITS = """
import io

import numpy as np
import torch
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler


class Digits(BaseHandler):
    def preprocess(self, data):
        return torch.stack([self.read(row.get("data") or row.get("body")) for row in data]).to(self.device)

    def read(self, value):
        if isinstance(value, dict):
            value = value["data"]
        if isinstance(value, (bytes, bytearray)):
            value = np.asarray(Image.open(io.BytesIO(value)).convert("L").resize((8, 8)), np.float32) / 255
        return torch.tensor(np.array(value), dtype=torch.float32).reshape(64)

    def postprocess(self, data):
        return data.argmax(1).tolist()
"""
MICRO = """
from digits import Digits
from ts.handler_utils.micro_batching import MicroBatching


class Micro(Digits):
    def initialize(self, context):
        super().initialize(context)
        said = context.model_yaml_config["micro_batching"]
        self.handle = MicroBatching(self, said["micro_batch_size"], said["parallelism"])

    def postprocess(self, data):
        return [{"digit": digit, "together": len(data)} for digit in super().postprocess(data)]
"""
MICRO_YAML = """
minWorkers: 1
maxWorkers: 1
batchSize: 8
maxBatchDelay: 30000
micro_batching:
  micro_batch_size: 3
  parallelism: {preprocess: 2, inference: 1, postprocess: 1}
"""

#: Counts what it knows of a text's words and pairs of words.
TEXT = """
import torch
from ts.handler_utils.text_utils import ngrams_iterator
from ts.torch_handler.text_handler import TextHandler


class Mood(TextHandler):
    def preprocess(self, data):
        return [row.get("data") or row.get("body") for row in data]

    def inference(self, texts):
        return torch.stack([self.score(text if isinstance(text, str) else text.decode()) for text in texts])

    def score(self, text):
        words = self._tokenize(self._remove_html_tags(self._expand_contractions(text)))
        known = [self.source_vocab[each] for each in ngrams_iterator(words, 2) if each in self.source_vocab]
        return self.model(torch.tensor([known], dtype=torch.int64)).sum()

    def postprocess(self, scores):
        return [{"mood": "good" if score > 0 else "bad", "score": float(score)} for score in scores]
"""
WORDS = """
import torch


class Words(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Embedding(4, 1)

    def forward(self, numbers):
        return self.weight(numbers)
"""

#: Answers with a picture: the one that came, upside down and as small as its own steps make it.
PICTURE = """
import io

import numpy as np
from PIL import Image
from ts.torch_handler.images import CenterCrop, Steps, ToTensor
from ts.torch_handler.vision_handler import VisionHandler


class UpsideDown(VisionHandler):
    image_processing = Steps([CenterCrop(8), ToTensor()])

    def postprocess(self, data):
        for place in range(len(data)):
            self.context.set_response_content_type(place, "image/png")
        return [self.draw(picture) for picture in data]

    def draw(self, picture):
        pixels = (picture.numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()
"""


class Digits(NamedTuple):
    """A model of handwritten digits, fitted, and the data set: rows of numbers from 0 to 1, and classes."""

    module: Any
    rows: Any
    classes: Any


class UpsideDown(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.flip(2)


@pytest.fixture(scope="module")
def digits():
    from sklearn.linear_model import LogisticRegression

    rows, classes = sklearn.datasets.load_digits(return_X_y=True)
    rows = rows / 16
    fitted = LogisticRegression(max_iter=300).fit(rows, classes)
    module = torch.nn.Sequential()
    module.add_module("linear", torch.nn.Linear(64, 10))
    module.linear.weight.data = torch.tensor(fitted.coef_, dtype=torch.float32).contiguous()
    module.linear.bias.data = torch.tensor(fitted.intercept_, dtype=torch.float32)
    return Digits(module.eval(), rows, classes)


@pytest.fixture(scope="module")
def server(tmp_path_factory, digits):
    directory = tmp_path_factory.mktemp("torch")
    store = directory / "store"
    store.mkdir()
    weights = {"modelFile": "net.py", "serializedFile": "weights.pt"}
    files = {"net.py": NET, "weights.pt": saved(digits.module.state_dict())}
    write_archive(store, "digits", DIGITS, files=files, manifest=weights)
    write_archive(
        store, "micro", MICRO, yaml=MICRO_YAML, files={**files, "digits.py": DIGITS}, manifest=weights
    )
    write_archive(
        store,
        "scripted",
        "",
        files={"model.pt": scripted(digits.module)},
        manifest={"handler": "base_handler", "serializedFile": "model.pt"},
    )
    vocabulary = {"good": 1, "bad": 2, "not good": 3}
    write_archive(
        store,
        "mood",
        TEXT,
        files={
            "net.py": WORDS,
            "weights.pt": saved({"weight.weight": torch.tensor([[0.0], [1.0], [-1.0], [-3.0]])}),
            "source_vocab.pt": saved(vocabulary),
        },
        manifest=weights,
    )
    write_archive(
        store,
        "picture",
        PICTURE,
        files={"model.pt": scripted(UpsideDown())},
        manifest={"serializedFile": "model.pt"},
    )
    with serving(directory, disable_token_authorization="true") as running:
        assert running.ask(INFERENCE, "/ping").status == 200
        yield running


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def scripted(module: Any) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    return file.getvalue()


def png(pixels: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


def predict(server, model, body, content_type="", path="predictions"):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = server.ask(INFERENCE, f"/{path}/{model}", "POST", body=body, headers=headers)
    assert answer.status == 200, answer.body
    return answer


def predict_json(server, model, value, path="predictions"):
    return predict(server, model, json.dumps(value), "application/json", path).json


def test_a_handler_derived_from_base_handler_reads_digits(server, digits):
    found = [predict_json(server, "digits", row.tolist()) for row in digits.rows[:20]]
    assert np.mean(np.array(found) == digits.classes[:20]) > 0.9
    picture = png(digits.rows[0].reshape(8, 8) * 255)
    assert predict(server, "digits", picture).json == digits.classes[0]
    boundary = b"--cut\r\n"
    head = b'Content-Disposition: form-data; name="data"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    form = boundary + head + picture + b"\r\n--cut--\r\n"
    assert predict(server, "digits", form, "multipart/form-data; boundary=cut").json == digits.classes[0]


def test_captum_says_which_pixels_made_the_digit(server, digits):
    pytest.importorskip("captum")
    row, digit = digits.rows[0], int(digits.classes[0])
    asked = {"data": row.tolist(), "target": digit}
    found = predict_json(server, "digits", asked, "explanations")
    # Of a linear model the integrated gradients are exactly its weights times the input.
    weights = digits.module.linear.weight[digit].detach().numpy()
    np.testing.assert_allclose(np.ravel(found), weights * row, atol=1e-4)


def test_torchscript_is_served_without_a_line_of_handler_code(server, digits):
    found = predict_json(server, "scripted", digits.rows[0].tolist())
    want = digits.module(torch.tensor(digits.rows[:1], dtype=torch.float32))[0].tolist()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_a_batch_is_worked_on_in_micro_batches(server, digits):
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda row: predict_json(server, "micro", row.tolist()), digits.rows[:8]))
    want = digits.module(torch.tensor(digits.rows[:8], dtype=torch.float32)).argmax(1).tolist()
    assert [answer["digit"] for answer in answers] == want
    assert sorted(answer["together"] for answer in answers) == [2, 2, 3, 3, 3, 3, 3, 3]


def test_a_text_handler_of_ones_own_has_its_vocabulary_and_words(server):
    assert predict(server, "mood", "It's <b>Good</b>!", "text/plain; charset=utf-8").json == {
        "mood": "good",
        "score": 1.0,
    }
    assert predict(server, "mood", b"good, bad, not good").json == {"mood": "bad", "score": -2.0}
    form = "application/x-www-form-urlencoded"
    assert predict(server, "mood", b"data=isn%27t+good", form).json["score"] == -2.0


def test_an_image_handler_of_ones_own_takes_pictures_and_answers_with_one(server):
    from PIL import Image

    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = (200, 100, 50)
    sent = png(pixels)
    answer = predict(server, "picture", sent)
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.body))), pixels[::-1])
    encoded = predict(server, "picture", base64.b64encode(sent), "text/plain")
    assert encoded.body == answer.body
