import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from dragoman.errors import ConfigError, InvalidInput, ModelFailed
from dragoman.runtimes.python import PythonRuntime

from .conftest import arrays, artifact, ask, shapes, text

SUM = """
    import numpy as np

    class Sum:
        inputs = {"INPUT0": ("INT32", [-1, 16]), "INPUT1": ("INT32", [-1, 16])}
        outputs = {"OUTPUT0": ("INT32", [-1, 16])}
        batched = True
        fast = True

        def predict(self, INPUT0, INPUT1):
            return {"OUTPUT0": INPUT0 + INPUT1}
"""
ROWS = np.arange(32, dtype=np.int32).reshape(2, 16)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)

    def load(code: str, file: str = "model.py", entry: str = "", **options: Any) -> PythonRuntime:
        (tmp_path / file).write_text(dedent(code))
        return PythonRuntime.load(artifact(tmp_path / file, entry=entry, **options))

    yield load
    for name in set(sys.modules) - known:
        del sys.modules[name]


def model(body: str) -> str:
    """A model whose class body is ``body``."""
    return "import numpy as np\nclass M:\n" + "\n".join("    " + line for line in dedent(body).splitlines())


def test_the_twelve_line_model_answers(load: Any) -> None:
    runtime = load(SUM)
    assert shapes(runtime.signature) == {
        "INPUT0": ("INT32", [-1, 16]),
        "INPUT1": ("INT32", [-1, 16]),
        "OUTPUT0": ("INT32", [-1, 16]),
    }
    assert runtime.signature.batched
    assert runtime.fast
    response = runtime.execute(ask(INPUT1=ROWS, INPUT0=ROWS))
    assert (response.model, response.version, response.id) == ("m", "1", "7")
    np.testing.assert_array_equal(response.output("OUTPUT0").data, ROWS * 2)


def test_code_runs_only_from_trusted_places(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "model.py").write_text(
        f"open({str(marker)!r}, 'w').close()\nclass M:\n    def predict(self): ...\n"
    )
    with pytest.raises(ConfigError, match="isn't trusted"):
        PythonRuntime.load(artifact(tmp_path / "model.py", trusted=False))
    assert not marker.exists()


@pytest.mark.parametrize(
    "predict",
    [
        "def predict(self, A, B): return A - B",
        "def predict(self, B, A): return A - B",
        "def predict(self, *, A, B): return A - B",
        "def predict(self, A, B, scale=1): return (A - B) * scale",
        "def predict(self, **arrays): return arrays['A'] - arrays['B']",
        "def predict(self, inputs): return inputs['A'] - inputs['B']",
        "def predict(self, it: 'dragoman.InferRequest'): return it.input('A').data - it.input('B').data",
        "@staticmethod\ndef predict(A, B): return A - B",
        "predict = staticmethod(lambda A, B: A - B)",
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_predict_is_called_the_way_it_asks_for(load: Any, predict: str, declared: bool) -> None:
    head = "inputs = {'A': ('FP32', [-1]), 'B': ('FP32', [-1])}\noutputs = {'C': ('FP32', [-1])}\n"
    runtime = load(model((head if declared else "") + predict))
    response = runtime.execute(ask(B=np.ones(3, np.float32), A=np.full(3, 3, np.float32)))
    assert [tensor.name for tensor in response.outputs] == ["C" if declared else "output"]
    assert response.outputs[0].datatype == "FP32"
    np.testing.assert_array_equal(response.outputs[0].data, [2, 2, 2])


def test_a_request_annotation_is_recognised_without_quotes(load: Any) -> None:
    runtime = load(
        """
        from dragoman.types import InferRequest
        class M:
            def predict(self, request: InferRequest):
                return {"id": [request.id]}
        """
    )
    assert arrays(runtime.execute(ask())) == {"id": np.array([b"7"], object)}


def test_a_models_own_response_keeps_its_parameters(load: Any) -> None:
    runtime = load(
        """
        from dragoman.types import InferRequest, InferResponse
        class M:
            outputs = {"x": ("FP32", [-1])}
            def predict(self, request: InferRequest):
                return InferResponse("m", "1", request.inputs, parameters={"took": 3})
        """
    )
    response = runtime.execute(ask(x=np.ones(2, np.float32)))
    assert response.parameters == {"took": 3}


def test_an_input_called_inputs_is_an_array(load: Any) -> None:
    runtime = load(model("inputs = {'inputs': ('FP32', [-1])}\ndef predict(self, inputs): return inputs * 2"))
    np.testing.assert_array_equal(runtime.execute(ask(inputs=np.ones(2, np.float32))).outputs[0].data, [2, 2])


def test_an_undeclared_model_of_one_parameter_takes_any_name(load: Any) -> None:
    runtime = load(model("def predict(self, x): return x + 1"))
    assert shapes(runtime.signature) == {}
    response = runtime.execute(ask(**{"input-0": np.zeros(2, np.int64)}))
    assert response.outputs[0].datatype == "INT64"


def test_a_model_of_any_parameters_takes_whatever_comes(load: Any) -> None:
    runtime = load(
        model("def predict(self, **inputs): return {name: data + 1 for name, data in inputs.items()}")
    )
    assert runtime.execute(ask(a=np.arange(2, dtype=np.int32))).outputs[0].data.tolist() == [1, 2]


@pytest.mark.parametrize(
    "inputs", [{}, {"a": ROWS}, {"a": ROWS, "c": ROWS}, {"a": ROWS, "b": ROWS, "c": ROWS}]
)
def test_an_undeclared_model_refuses_inputs_it_has_no_parameter_for(
    load: Any, inputs: dict[str, Any]
) -> None:
    runtime = load(model("def predict(self, a, b): return a"))
    with pytest.raises(InvalidInput, match="takes the inputs a, b"):
        runtime.execute(ask(**inputs))


def test_an_optional_input_that_is_not_sent_is_none_or_the_default(load: Any) -> None:
    given = [
        {"name": "a", "datatype": "INT32", "shape": [-1]},
        {"name": "b", "datatype": "INT32", "shape": [-1]},
    ]
    given[1]["optional"] = True
    code = model("def predict(self, a, b): return a if b is None else a + b")
    one = np.ones(1, np.int32)
    for each in (code, code.replace("b)", "b=None)")):
        runtime = load(each, inputs=given)
        assert runtime.execute(ask(a=one)).outputs[0].data == [1]
        assert runtime.execute(ask(a=one, b=one)).outputs[0].data == [2]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("{'P': a, 'Q': a.astype('f8')}", "named"),
        ("(a, a.astype('f8'))", "in order"),
        ("[a, a.astype('f8')]", "in order"),
        ("([1, 2], [1.0, 2.0])", "plain lists take the declared datatype"),
        ("response(a)", "an InferResponse"),
    ],
)
def test_predict_may_return_its_outputs_in_many_ways(load: Any, result: str, expected: str) -> None:
    runtime = load(
        f"""
        from dragoman.types import InferResponse, Tensor
        def response(a):
            return InferResponse("x", "y", (Tensor("Q", "FP64", a.astype("f8")), Tensor("P", "INT32", a)))
        class M:
            inputs = {{"a": ("INT32", [-1])}}
            outputs = {{"P": ("INT32", [-1]), "Q": ("FP64", [2])}}
            def predict(self, a):
                return {result}
        """
    )
    response = runtime.execute(ask(a=np.array([1, 2], np.int32)))
    assert [(t.name, t.datatype, t.data.tolist()) for t in response.outputs] == [
        ("P", "INT32", [1, 2]),
        ("Q", "FP64", [1.0, 2.0]),
    ]
    response = runtime.execute(ask(("Q",), a=np.array([1, 2], np.int32)))
    assert [tensor.name for tensor in response.outputs] == ["Q"]


def test_undeclared_outputs_take_their_datatypes_from_the_arrays(load: Any) -> None:
    runtime = load(model("def predict(self, x): return {'a': x, 'b': ['é', 'z'], 'c': 2.5, 'd': [True]}"))
    response = runtime.execute(ask(x=np.zeros(1, np.float16)))
    assert [(t.name, t.datatype, t.shape) for t in response.outputs] == [
        ("a", "FP16", (1,)),
        ("b", "BYTES", (2,)),
        ("c", "FP64", ()),
        ("d", "BOOL", (1,)),
    ]
    assert response.output("b").data.tolist() == ["é".encode(), b"z"]
    runtime = load(model("def predict(self, x): return x, x"))
    assert list(arrays(runtime.execute(ask(x=np.zeros(1))))) == ["output_0", "output_1"]


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ("{'P': a.astype('f8')}", "output 'P' should be FP32, the model returned FP64"),
        ("{'P': a.astype('f4')[:, :1]}", r"output 'P' should be \[-1, 2\], the model returned \[3, 1\]"),
        ("{'P': a.astype('f4')[0]}", r"output 'P' should be \[-1, 2\], the model returned \[2\]"),
        ("{'P': a.astype('f4')[:1]}", "got 3 rows and returned 1 in output 'P'"),
        ("{'P': [[1.0, 2.0], [3.0]]}", "output 'P' is not an array"),
        ("{'P': a.astype('f4'), 'Q': a}", "returned P, Q, expected P"),
        ("{'Q': a.astype('f4')}", "returned Q, expected P"),
        ("{}", "returned nothing, expected P"),
        ("None", "returned NoneType, expected P"),
        ("(a, a)", "returned 2 outputs, expected P"),
        ("'text'", "output 'P' should be FP32, the model returned <U4"),
        ("a.astype('>f4')", "output 'P' should be FP32, the model returned >f4"),
        ("object()", "output 'P' should be FP32, the model returned object"),
    ],
)
def test_an_answer_that_breaks_the_promise_is_the_models_failure(
    load: Any, result: str, complaint: str
) -> None:
    runtime = load(
        model(
            "inputs = {'a': ('INT32', [-1, 2])}\noutputs = {'P': ('FP32', [-1, 2])}\nbatched = True\n"
            f"def predict(self, a): return {result}"
        )
    )
    with pytest.raises(ModelFailed, match=complaint):
        runtime.execute(ask(a=np.ones((3, 2), np.int32)))


@pytest.mark.parametrize(
    ("datatype", "result", "complaint"),
    [
        ("INT8", "[300]", "a number doesn't fit INT8"),
        ("INT32", "[1.5]", "should be INT32, the model returned FP64"),
        ("BYTES", "[1]", "output 'P' is int64; expected text or bytes"),
        ("BYTES", "np.array(['a', 1], object)", "output 'P' holds int where text or bytes belong"),
    ],
)
def test_plain_values_are_never_bent_to_fit(load: Any, datatype: str, result: str, complaint: str) -> None:
    runtime = load(
        model(f"outputs = {{'P': ({datatype!r}, [-1])}}\ndef predict(self): return {{'P': {result}}}")
    )
    with pytest.raises(ModelFailed, match=complaint):
        runtime.execute(ask())


@pytest.mark.parametrize(
    "result", ["['a', 'é']", "np.array(['a', 'é'])", "np.array(['a', 'é'], 'T')", "[b'a', 'é'.encode()]"]
)
def test_text_of_any_kind_becomes_bytes(load: Any, result: str) -> None:
    runtime = load(model(f"outputs = {{'P': ('BYTES', [-1])}}\ndef predict(self): return {result}"))
    assert runtime.execute(ask()).outputs[0].data.tolist() == [b"a", "é".encode()]


def test_bytes_come_in_as_bytes(load: Any) -> None:
    runtime = load(
        model("inputs = {'x': ('BYTES', [-1])}\ndef predict(self, x): return [v.upper() for v in x]")
    )
    assert runtime.execute(ask(x=text("ab"))).outputs[0].data.tolist() == [b"AB"]


def test_bfloat16_travels_as_its_bits(load: Any) -> None:
    pytest.importorskip("ml_dtypes")
    runtime = load(
        model(
            "inputs = outputs = {'x': ('BF16', [-1])}\n"
            "def predict(self, x):\n    import ml_dtypes\n    return x.view(ml_dtypes.bfloat16) * 2"
        )
    )
    response = runtime.execute(ask(x=("BF16", np.array([0x3F80], np.uint16))))  # 1.0
    assert (response.outputs[0].datatype, response.outputs[0].data.tolist()) == ("BF16", [0x4000])  # 2.0


def test_what_predict_raises_passes_through(load: Any) -> None:
    runtime = load(model("def predict(self, x): raise ValueError('boom')"))
    with pytest.raises(ValueError, match="boom"):
        runtime.execute(ask(x=ROWS))


def test_an_unknown_output_is_the_clients_mistake(load: Any) -> None:
    with pytest.raises(InvalidInput, match="no output 'Z'; it has: OUTPUT0"):
        load(SUM).execute(ask(("Z",), INPUT0=ROWS, INPUT1=ROWS))


@pytest.mark.parametrize(
    "predict",
    ["async def predict(self, x): ...", "def predict(self, x): yield x", "async def predict(self, x): yield"],
)
def test_async_and_generators_are_refused_at_load(load: Any, predict: str) -> None:
    with pytest.raises(ConfigError, match="async or a generator"):
        load(model(predict))


def test_parameters_that_are_not_inputs_are_refused_at_load(load: Any) -> None:
    with pytest.raises(ConfigError, match="predict takes a, b, but the inputs are a, c"):
        load(model("inputs = {'a': ('FP32', [1]), 'c': ('FP32', [1])}\ndef predict(self, a, b): ..."))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("inputs = {'a': ('FLOAT', [1])}", "'a': unknown datatype 'FLOAT'"),
        ("inputs = {'a': ('FP32', ['n'])}", "'a': shape must be a list of sizes"),
        ("inputs = {'a': ('FP32', [-2])}", "'a': shape must be a list of sizes"),
        ("inputs = {'a': 'FP32'}", r"inputs\['a'\] must be \(datatype, shape\)"),
        ("outputs = ['a']", "outputs must be a dict"),
        ("inputs = {'a': ('FP32', [1])}; batched = True", "can't be batched: 'a' has shape"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_at_load(load: Any, body: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(model(f"{body}\ndef predict(self, a): ..."))


def test_load_gets_what_it_names(load: Any, tmp_path: Path) -> None:
    runtime = load(
        """
        class M:
            def __init__(self, artifact):
                self.name = artifact.name
            def load(self, path, options):
                self.words = options["words"] if path.is_dir() else ""
                self.outputs = {"out": ("BYTES", [-1], ["label"])}
            def predict(self):
                return [self.name, self.words]
            def close(self):
                self.words = "closed"
        """,
        words="hi",
    )
    assert runtime.signature.outputs[0].labels == ("label",)
    assert runtime.execute(ask()).outputs[0].data.tolist() == [b"m", b"hi"]
    runtime.close()
    assert runtime._model.words == "closed"


@pytest.mark.parametrize(
    ("code", "line", "complaint"),
    [
        ("import nothere\n", 1, "ModuleNotFoundError"),
        ("x = 1\nclass M\n", 2, "SyntaxError"),
        (
            "class M:\n    def __init__(self):\n        1 / 0\n    def predict(self): ...",
            3,
            "ZeroDivisionError",
        ),
        ("class M:\n    def load(self):\n        {}['k']\n    def predict(self): ...", 3, "KeyError"),
    ],
)
def test_a_failing_load_names_file_and_line_and_keeps_the_traceback(
    load: Any, code: str, line: int, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=rf"model\.py:{line}: {complaint}") as caught:
        load(code)
    assert type(caught.value.__cause__).__name__ == complaint


def test_a_load_that_asks_for_the_unknown_is_told_what_there_is(load: Any) -> None:
    with pytest.raises(ConfigError, match=r"M.load asks for weights") as caught:
        load(model("def load(self, weights): ...\ndef predict(self): ..."))
    assert caught.value.hint == "it may take path, options, artifact"


TWO = """
    class A:
        def predict(self): return [1]
    class B:
        def predict(self): return [2]
    class Helper: ...
"""


def test_the_entry_chooses_among_classes(load: Any) -> None:
    with pytest.raises(ConfigError, match="one class with a predict method; it has: A, B"):
        load(TWO)
    assert load(TWO, entry="B").execute(ask()).outputs[0].data == [2]
    assert load(TWO, entry="model:A").execute(ask()).outputs[0].data == [1]
    assert load(TWO.replace("class B", "class Model")).execute(ask()).outputs[0].data == [2]
    with pytest.raises(ConfigError, match="has no class 'C'") as caught:
        load(TWO, entry="C")
    assert caught.value.hint == "its classes: A, B, Helper"
    with pytest.raises(ConfigError, match="'Helper' has no predict method"):
        load(TWO, entry="Helper")


def test_a_directory_is_searched(load: Any, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("class M:\n    def predict(self): return [1]\n")
    assert PythonRuntime.load(artifact(tmp_path)).execute(ask()).outputs[0].data == [1]
    (tmp_path / "model.py").write_text("class M:\n    def predict(self): return [2]\n")
    assert PythonRuntime.load(artifact(tmp_path)).execute(ask()).outputs[0].data == [2]
    assert PythonRuntime.load(artifact(tmp_path, entry="other:M")).execute(ask()).outputs[0].data == [1]
    (tmp_path / "model.py").rename(tmp_path / "third.py")
    with pytest.raises(ConfigError, match="2 Python files"):
        PythonRuntime.load(artifact(tmp_path))
    with pytest.raises(ConfigError, match="there is no Python file"):
        PythonRuntime.load(artifact(tmp_path / "absent.py"))


def test_an_entry_alone_is_imported(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed_package.py").write_text("class M:\n    def predict(self): return [1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert PythonRuntime.load(artifact(None, entry="installed_package:M")).execute(ask()).outputs[0].data == [
        1
    ]
    with pytest.raises(ConfigError, match="importing nothere failed"):
        PythonRuntime.load(artifact(None, entry="nothere:M"))
    with pytest.raises(ConfigError, match="names no class"):
        PythonRuntime.load(artifact(None))


def test_two_versions_each_import_their_own_helper(load: Any, tmp_path: Path) -> None:
    runtimes = []
    for version in "12":
        (tmp_path / version).mkdir()
        (tmp_path / version / "helper.py").write_text(f"VALUE = {version}\n")
        code = "import helper\nclass M:\n    def predict(self): return [helper.VALUE]\n"
        (tmp_path / version / "model.py").write_text(code)
        runtimes.append(PythonRuntime.load(artifact(tmp_path / version)))
    assert [runtime.execute(ask()).outputs[0].data.tolist() for runtime in runtimes] == [[1], [2]]


def test_models_that_load_at_once_do_not_mix_their_helpers(load: Any, tmp_path: Path) -> None:
    def answer(number: int) -> int:
        place = tmp_path / str(number)
        place.mkdir()
        (place / "helper.py").write_text(f"import time\ntime.sleep(0.01)\nVALUE = {number}\n")
        (place / "model.py").write_text(
            "import helper\nclass M:\n    def predict(self): return [helper.VALUE]\n"
        )
        return int(PythonRuntime.load(artifact(place)).execute(ask()).outputs[0].data[0])

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(answer, range(6))) == list(range(6))


def test_complaints_name_no_directory(load: Any, tmp_path: Path) -> None:
    for code, entry in (("import nothere", ""), ("class M: ...", "N"), ("class M: ...", ""), ("def f(:", "")):
        with pytest.raises(ConfigError) as caught:
            load(code, entry=entry)
        assert "model.py" in str(caught.value)
        assert str(tmp_path) not in f"{caught.value} {caught.value.hint}"


def test_dataclasses_work_in_a_model_file(load: Any) -> None:
    load(
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class M:
            size: int = 3
            def predict(self): return [self.size]
        """
    )


def test_the_operator_may_declare_label_and_limit(load: Any) -> None:
    code = model("def predict(self, x): return x")
    spec = {"name": "x", "datatype": "fp32", "shape": [-1, 2]}
    out = {"name": "y", "datatype": "FP32", "shape": [-1, 2], "labels": ["no", "yes"]}
    signature = load(code, inputs=[spec], outputs=[out], max_batch=8).signature
    assert shapes(signature) == {"x": ("FP32", [-1, 2]), "y": ("FP32", [-1, 2])}
    assert signature.outputs[0].labels == ("no", "yes")
    assert (signature.batched, signature.max_batch) == (True, 8)
    assert not load(code, inputs=[spec], outputs=[out], max_batch=8, batched=False).signature.batched
    labelled = load(SUM, outputs=[{"name": "OUTPUT0", "labels": ["a", "b"]}]).signature
    assert labelled.outputs[0].labels == ("a", "b")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"name": "OUTPUT1"}, "the model has no output 'OUTPUT1'"),
        ({"name": "OUTPUT0", "datatype": "FP32"}, "output 'OUTPUT0' is INT32 in the model, not FP32"),
        ({"name": "OUTPUT0", "shape": [16]}, "another rank"),
        ({"name": "OUTPUT0", "dims": [16]}, "unknown key 'dims'"),
        ({"labels": ["a"]}, "must be a table with a name"),
    ],
)
def test_the_operator_may_not_contradict_the_model(load: Any, entry: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(SUM, outputs=[entry])


def test_a_file_that_was_changed_within_a_second_is_the_new_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "model.py"
    for answer in (1, 2):
        file.write_text(f"class Model:\n    def predict(self):\n        return [{answer}]\n")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        runtime = PythonRuntime.load(artifact(tmp_path))
        assert arrays(runtime.execute(ask()))["output"] == [answer]
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]
