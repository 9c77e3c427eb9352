from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx

from dragoman.errors import ConfigError, InvalidInput, ModelFailed
from dragoman.runtimes.onnx import OnnxRuntime
from dragoman.types import DTYPES

from .conftest import arrays, artifact, ask, shapes, text

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning:(onnx|skl2onnx|onnxconverter_common)",
)

Graph = Callable[..., Path]


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """Writes a graph that applies ``op`` to ``x``, giving ``y``."""

    def graph(
        element: int = TensorProto.FLOAT, shape: Any = ("batch", 2), to: Any = None, op: str = "Identity"
    ) -> Path:
        x = helper.make_tensor_value_info("x", element, shape)
        y = helper.make_tensor_value_info("y", element, shape if to is None else to)
        made = helper.make_model(
            helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y]),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=9,
        )
        onnx.save(made, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return graph


@pytest.mark.parametrize(
    ("element", "datatype"),
    [
        ("BOOL", "BOOL"),
        ("UINT8", "UINT8"),
        ("UINT16", "UINT16"),
        ("UINT32", "UINT32"),
        ("UINT64", "UINT64"),
        ("INT8", "INT8"),
        ("INT16", "INT16"),
        ("INT32", "INT32"),
        ("INT64", "INT64"),
        ("FLOAT16", "FP16"),
        ("BFLOAT16", "BF16"),
        ("FLOAT", "FP32"),
        ("DOUBLE", "FP64"),
    ],
)
def test_every_element_type_goes_in_and_comes_out(graph: Graph, element: str, datatype: str) -> None:
    runtime = OnnxRuntime.load(artifact(graph(getattr(TensorProto, element))))
    assert shapes(runtime.signature) == {"x": (datatype, [-1, 2]), "y": (datatype, [-1, 2])}
    data = np.array([[1, 0], [0, 1], [1, 1]]).astype(DTYPES[datatype])
    output = runtime.execute(ask(x=(datatype, data))).output("y")
    assert output.datatype == datatype
    assert output.data.dtype == DTYPES[datatype]
    np.testing.assert_array_equal(output.data, data)


def test_text_goes_in_and_comes_out_as_utf8(graph: Graph) -> None:
    runtime = OnnxRuntime.load(artifact(graph(TensorProto.STRING)))
    data = text("a", "é", "", "日本").reshape(2, 2)
    response = runtime.execute(ask(x=data))
    assert response.output("y").datatype == "BYTES"
    np.testing.assert_array_equal(response.output("y").data, data)
    with pytest.raises(InvalidInput, match="input 'x' must be UTF-8"):
        runtime.execute(ask(x=np.array([[b"\xff", b""]], dtype=object)))


def test_empty_batches_pass(graph: Graph) -> None:
    runtime = OnnxRuntime.load(artifact(graph(TensorProto.STRING)))
    assert runtime.execute(ask(x=np.empty((0, 2), object))).output("y").shape == (0, 2)


@pytest.mark.parametrize(
    ("shape", "to", "batched"),
    [
        (("batch", 2), ("batch", 2), True),
        (("batch_size", 2), ("batch_size", 2), True),
        (("N", 2), ("N", 2), True),
        ((None, 2), (None, 2), True),
        (("unk__1", 2), ("unk__2", 2), True),
        (("batch", 2), ("rows", 2), False),
        (("sequence", 2), ("sequence", 2), False),
        ((None, 2), ("batch", 2), False),
        ((3, 2), (3, 2), False),
        ((), (), False),
    ],
)
def test_rows_are_joined_only_where_the_graph_shows_a_batch(
    graph: Graph, shape: Any, to: Any, batched: bool
) -> None:
    assert OnnxRuntime.load(artifact(graph(shape=shape, to=to))).signature.batched is batched


def test_the_operator_says_what_the_graph_does_not(graph: Graph) -> None:
    path = graph(shape=("s", 2))
    signature = OnnxRuntime.load(
        artifact(path, max_batch=4, outputs=[{"name": "y", "labels": "ab"}])
    ).signature
    assert (signature.batched, signature.max_batch, signature.outputs[0].labels) == (True, 4, ("a", "b"))
    assert not OnnxRuntime.load(artifact(graph(), batched=False)).signature.batched
    with pytest.raises(ConfigError, match="can't be batched: 'x' has shape \\[3, 2\\]"):
        OnnxRuntime.load(artifact(graph(shape=(3, 2)), batched=True))


def test_the_exported_classifier_agrees_with_scikit_learn(digits: Any, tmp_path: Path) -> None:
    model, rows = digits
    path = tmp_path / "digits.onnx"
    path.write_bytes(
        to_onnx(model, rows[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    )
    runtime = OnnxRuntime.load(artifact(path, intra_op_threads=1, inter_op_threads=1, optimization="basic"))
    assert shapes(runtime.signature) == {
        "X": ("FP32", [-1, 64]),
        "label": ("INT64", [-1]),
        "probabilities": ("FP32", [-1, 10]),
    }
    assert runtime.signature.batched
    answer = arrays(runtime.execute(ask(X=rows.astype(np.float32))))
    np.testing.assert_array_equal(answer["label"], model.predict(rows))
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), atol=1e-4)


def test_text_classes_come_out_as_bytes(cancer: Any, tmp_path: Path) -> None:
    model, rows = cancer
    path = tmp_path / "cancer.onnx"
    path.write_bytes(
        to_onnx(model, rows[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    )
    label = (
        OnnxRuntime.load(artifact(path))
        .execute(ask(("label",), X=rows[:20].astype(np.float32)))
        .output("label")
    )
    assert label.datatype == "BYTES"
    assert [each.decode() for each in label.data] == model.predict(rows[:20]).tolist()


def test_a_zipmap_is_refused_with_the_way_out(digits: Any, tmp_path: Path) -> None:
    model, rows = digits
    path = tmp_path / "zipmap.onnx"
    path.write_bytes(to_onnx(model, rows[:1].astype(np.float32)).SerializeToString())
    with pytest.raises(ConfigError, match=r"is seq\(map\(int64,tensor\(float\)\)\), not a tensor") as caught:
        OnnxRuntime.load(artifact(path))
    assert "'zipmap': False" in caught.value.hint


class Spy:
    """A session that remembers which outputs it was asked for."""

    def __init__(self, session: Any) -> None:
        self._session, self.asked = session, []

    def run(self, names: list[str], feeds: Any) -> Any:
        self.asked.append(names)
        return self._session.run(names, feeds)


def test_only_the_wanted_outputs_are_computed_in_the_wanted_order(digits: Any, tmp_path: Path) -> None:
    model, rows = digits
    path = tmp_path / "digits.onnx"
    path.write_bytes(
        to_onnx(model, rows[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    )
    runtime = OnnxRuntime.load(artifact(path))
    runtime._session = spy = Spy(runtime._session)
    row = rows[:1].astype(np.float32)
    assert list(arrays(runtime.execute(ask(("probabilities",), X=row)))) == ["probabilities"]
    assert list(arrays(runtime.execute(ask(("probabilities", "label"), X=row)))) == ["probabilities", "label"]
    assert spy.asked == [["probabilities"], ["probabilities", "label"]]
    with pytest.raises(InvalidInput, match="no output 'scores'; it has: label, probabilities"):
        runtime.execute(ask(("scores",), X=row))


def test_a_real_model_recognises_python_code() -> None:
    spec = find_spec("magika")
    assert spec is not None
    assert spec.origin is not None
    [path] = Path(spec.origin).parent.glob("models/*/model.onnx")
    runtime = OnnxRuntime.load(artifact(path))
    assert shapes(runtime.signature) == {"bytes": ("INT32", [-1, 2048]), "target_label": ("FP32", [-1, 214])}
    assert runtime.signature.batched
    beginning = b"import os\n\n\ndef main() -> None:\n    print(os.getcwd())\n" * 10
    data = np.full((2, 2048), 256, np.int32)  # 256 is padding; 1024 bytes of the beginning, 1024 of the end
    data[:, : len(beginning)] = np.frombuffer(beginning, np.uint8)
    data[:, 2048 - len(beginning) :] = np.frombuffer(beginning, np.uint8)
    scores = runtime.execute(ask(bytes=data)).output("target_label").data
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(scores[0], scores[1])
    assert scores.max() > 0.9


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (np.zeros((1, 3), np.float32), "invalid dimensions for input: x"),
        (np.zeros(2, np.float32), "Invalid rank for input: x"),
        (np.zeros((1, 2)), "Unexpected input data type"),
    ],
)
def test_inputs_that_onnxruntime_refuses_are_the_clients_mistake(
    graph: Graph, data: Any, complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint) as caught:
        OnnxRuntime.load(artifact(graph())).execute(ask(x=data))
    assert "ONNXRuntimeError" not in caught.value.message


def test_what_fails_inside_the_graph_passes_through(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.INT64, (None,))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (None,))
    table = helper.make_tensor("table", TensorProto.FLOAT, [2], [1.0, 2.0])
    nodes = helper.make_graph([helper.make_node("Gather", ["table", "x"], ["y"])], "g", [x], [y], [table])
    onnx.save(
        helper.make_model(nodes, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "g.onnx",
    )
    runtime = OnnxRuntime.load(artifact(tmp_path))
    assert runtime.execute(ask(x=np.array([1, 0]))).output("y").data.tolist() == [2.0, 1.0]
    with pytest.raises(
        onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of data bounds"
    ):
        runtime.execute(ask(x=np.array([9])))


def test_an_output_whose_shape_is_not_the_graphs_is_the_models_failure(graph: Graph) -> None:
    runtime = OnnxRuntime.load(artifact(graph(shape=("batch", 2), to=(1, 2), op="Relu")))
    with pytest.raises(ModelFailed, match=r"output 'y' should be \[1, 2\], the model returned \[3, 2\]"):
        runtime.execute(ask(x=np.zeros((3, 2), np.float32)))
    relaxed = artifact(graph(to=(1, 2), op="Relu"), outputs=[{"name": "y", "shape": [-1, 2]}])
    assert OnnxRuntime.load(relaxed).execute(ask(x=np.zeros((3, 2), np.float32))).output("y").shape == (3, 2)


@pytest.mark.parametrize(
    ("options", "complaint", "hint"),
    [
        (
            {"providers": ["TPUExecutionProvider"]},
            "no provider 'TPUExecutionProvider'",
            "CPUExecutionProvider",
        ),
        ({"optimization": "most"}, "option 'optimization' is 'most'", "none, basic, extended, all"),
        ({"intra_op_thread": 1}, "unknown option 'intra_op_thread'", "did you mean 'intra_op_threads'?"),
        ({"intra_op_threads": "2"}, "option 'intra_op_threads' must be int, got '2'", ""),
        ({"intra_op_threads": True}, "option 'intra_op_threads' must be int, got True", ""),
        ({"outputs": [{"name": "z"}]}, "the model has no output 'z'", "it has: y"),
        ({"inputs": [{"name": "x", "datatype": "FP64"}]}, "input 'x' is FP32 in the model, not FP64", ""),
    ],
)
def test_options_that_make_no_sense_are_refused_at_load(
    graph: Graph, options: dict[str, Any], complaint: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        OnnxRuntime.load(artifact(graph(), **options))
    assert hint in caught.value.hint


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"junk")
    with pytest.raises(ConfigError, match=r"onnxruntime can't load a\.onnx: InvalidProtobuf") as caught:
        OnnxRuntime.load(artifact(tmp_path / "a.onnx"))
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ConfigError, match="there is no file"):
        OnnxRuntime.load(artifact(tmp_path / "b.onnx"))
    (tmp_path / "b.onnx").touch()
    with pytest.raises(ConfigError, match=r"2 files of \.onnx"):
        OnnxRuntime.load(artifact(tmp_path))
    with pytest.raises(ConfigError, match="has no file"):
        OnnxRuntime.load(artifact(None))


def test_onnxruntime_is_quiet(graph: Graph, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = OnnxRuntime.load(artifact(graph(to=(1, 2), op="Relu")))  # onnxruntime warns of such shapes
    with pytest.raises(ModelFailed):
        runtime.execute(ask(x=np.zeros((3, 2), np.float32)))
    assert capfd.readouterr() == ("", "")


def test_close_lets_the_session_go(graph: Graph) -> None:
    runtime = OnnxRuntime.load(artifact(graph()))
    runtime.close()
    assert runtime._session is None
