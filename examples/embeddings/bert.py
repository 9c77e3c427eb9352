"""A BERT-like sentence encoder as an ONNX graph, out of its folder of weights: config.json, model.safetensors.

No torch and no transformers: the network is thirty operations a layer, written down here once.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


def make_onnx(folder: Path) -> bytes:
    """The model whose inputs are ``input_ids`` and ``attention_mask``, INT64 [texts, tokens], and whose output is
    ``embedding``, FP32 [texts, features]: the mean of each text's tokens, of length 1."""
    config = json.loads((folder / "config.json").read_text())
    graph = _Graph(load_file(folder / "model.safetensors"))
    hidden = _embed(graph, config)
    masked = graph.add(
        "Unsqueeze", graph.add("Cast", "attention_mask", to=TensorProto.FLOAT), graph.ints([1])
    )
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(graph, f"encoder.layer.{layer}", hidden, masked, config)
    total = graph.add("Squeeze", graph.add("MatMul", masked, hidden), graph.ints([1]))
    mean = graph.add("Div", total, graph.add("ReduceSum", masked, graph.ints([2]), keepdims=0))
    graph.add("LpNormalization", mean, axis=-1, p=2, name="embedding")
    return graph.serialize(config["hidden_size"])


def _embed(graph: "_Graph", config: dict) -> str:
    """What each token means, plus where it stands."""
    length = graph.add("Slice", graph.add("Shape", "input_ids"), *map(graph.ints, ([1], [2])))
    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    table = graph.weight("embeddings.position_embeddings.weight")
    places = graph.add("Slice", table, graph.ints([0]), length)
    first = graph.constant(graph.weights["embeddings.token_type_embeddings.weight"][0])
    summed = graph.add("Add", graph.add("Add", words, places), first)
    return graph.normalize(summed, "embeddings.LayerNorm", config)


def _layer(graph: "_Graph", name: str, hidden: str, masked: str, config: dict) -> str:
    """Every token looks at the others, then thinks for itself."""
    heads = config["num_attention_heads"]
    width = config["hidden_size"] // heads
    split = graph.ints([0, 0, heads, width])

    def part(which: str, order: list[int]) -> str:
        projected = graph.linear(hidden, f"{name}.attention.self.{which}")
        return graph.add("Transpose", graph.add("Reshape", projected, split), perm=order)

    scores = graph.add("MatMul", part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]))
    scaled = graph.add("Mul", scores, graph.constant(np.float32(width**-0.5)))
    absent = graph.add("Sub", graph.constant(np.float32(1)), graph.add("Unsqueeze", masked, graph.ints([1])))
    far = graph.add("Mul", absent, graph.constant(np.float32(-1e9)))
    weights = graph.add("Softmax", graph.add("Add", scaled, far), axis=-1)
    seen = graph.add("MatMul", weights, part("value", [0, 2, 1, 3]))
    joined = graph.add("Reshape", graph.add("Transpose", seen, perm=[0, 2, 1, 3]), graph.ints([0, 0, -1]))
    attended = graph.add("Add", graph.linear(joined, f"{name}.attention.output.dense"), hidden)
    middle = graph.normalize(attended, f"{name}.attention.output.LayerNorm", config)
    thought = graph.add("Gelu", graph.linear(middle, f"{name}.intermediate.dense"))
    result = graph.add("Add", graph.linear(thought, f"{name}.output.dense"), middle)
    return graph.normalize(result, f"{name}.output.LayerNorm", config)


class _Graph:
    """Nodes and constants, each with a name; ``add`` gives back the name of what it adds."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operation: str, *inputs: str, name: str = "", **attributes: object) -> str:
        name = name or f"{operation}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def constant(self, value: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self._constants)}"
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def ints(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def weight(self, name: str) -> str:
        return self.constant(self.weights[name], name)

    def linear(self, value: str, name: str) -> str:
        turned = self.constant(np.ascontiguousarray(self.weights[f"{name}.weight"].T), f"{name}.weight")
        return self.add("Add", self.add("MatMul", value, turned), self.weight(f"{name}.bias"))

    def normalize(self, value: str, name: str, config: dict) -> str:
        weights = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", value, *weights, axis=-1, epsilon=config["layer_norm_eps"])

    def serialize(self, features: int) -> bytes:
        def described(name: str, kind: int, shape: list[object]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, kind, shape)

        inputs = [described(name, TensorProto.INT64, ["n", "s"]) for name in ("input_ids", "attention_mask")]
        outputs = [described("embedding", TensorProto.FLOAT, ["n", features])]
        graph = helper.make_graph(self._nodes, "encoder", inputs, outputs, list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        return model.SerializeToString()
