import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragoman.errors import ConfigError, InvalidInput, ModelFailed
from dragoman.runtimes.torch import TorchRuntime

from .conftest import arrays, artifact, ask, shapes

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

F32 = np.float32


class Difference(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:
        return left - right


class Both(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:
        return left - right, left + right


class Named(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"minus": left - right, "plus": left + right}


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> Any:
        return self.dropout(self.layer(x))


def script(module: Any, path: Path, **options: Any) -> TorchRuntime:
    torch.jit.script(module).save(str(path / "model.pt"))
    return TorchRuntime.load(artifact(path / "model.pt", **options))


def export(module: Any, path: Path, *args: Any, **options: Any) -> TorchRuntime:
    batch = torch.export.Dim("batch")
    dynamic = tuple({0: batch} for _ in args)
    program = torch.export.export(module.eval(), args, dynamic_shapes=dynamic)
    torch.export.save(program, path / "model.pt2")
    return TorchRuntime.load(artifact(path, **options))


LEFT, RIGHT = np.array([[3.0], [5.0]], F32), np.array([[1.0], [1.0]], F32)


@pytest.mark.parametrize(
    "names", [("left", "right"), ("INPUT__0", "INPUT__1"), ("a__0", "b__1"), ("first", "second")]
)
def test_torchscript_takes_names_or_positions(tmp_path: Path, names: tuple[str, str]) -> None:
    runtime = script(Difference(), tmp_path)
    assert shapes(runtime.signature) == {}
    assert not runtime.signature.batched
    response = runtime.execute(ask(**dict(zip(names, (LEFT, RIGHT), strict=True))))
    assert [(t.name, t.datatype, t.data.tolist()) for t in response.outputs] == [
        ("OUTPUT__0", "FP32", [[2.0], [4.0]])
    ]


@pytest.mark.parametrize("names", [("right", "left"), ("INPUT__1", "INPUT__0")])
def test_the_order_sent_does_not_matter_where_names_tell(tmp_path: Path, names: tuple[str, str]) -> None:
    runtime = script(Difference(), tmp_path)
    response = runtime.execute(ask(**{names[0]: RIGHT, names[1]: LEFT}))
    assert response.outputs[0].data.tolist() == [[2.0], [4.0]]


def test_the_operator_declares_torchscripts_tensors(tmp_path: Path) -> None:
    pair = [{"name": f"INPUT__{index}", "datatype": "FP32", "shape": [-1, 1]} for index in (1, 0)]
    outs = [{"name": f"OUT__{index}", "datatype": "FP32", "shape": [-1, 1]} for index in (1, 0)]
    runtime = script(Both(), tmp_path, inputs=pair, outputs=outs, batched=True, max_batch=4)
    assert runtime.signature.batched
    response = runtime.execute(ask(INPUT__1=RIGHT, INPUT__0=LEFT))
    assert {n: a.tolist() for n, a in arrays(response).items()} == {
        "OUT__0": [[2.0], [4.0]],
        "OUT__1": [[4.0], [6.0]],
    }
    assert list(arrays(runtime.execute(ask(("OUT__0",), INPUT__0=LEFT, INPUT__1=RIGHT)))) == ["OUT__0"]


def test_dicts_keep_their_keys_and_tuples_are_numbered(tmp_path: Path) -> None:
    assert list(arrays(script(Named(), tmp_path).execute(ask(a=LEFT, b=RIGHT)))) == ["minus", "plus"]
    assert list(arrays(script(Both(), tmp_path).execute(ask(a=LEFT, b=RIGHT)))) == ["OUTPUT__0", "OUTPUT__1"]


def test_too_few_or_too_many_inputs_are_the_clients_mistake(tmp_path: Path) -> None:
    runtime = script(Difference(), tmp_path)
    for inputs in ({"a": LEFT}, {"a": LEFT, "b": LEFT, "c": LEFT}):
        with pytest.raises(InvalidInput, match="takes 2 inputs, got"):
            runtime.execute(ask(**inputs))
    with pytest.raises(InvalidInput, match="tensors hold numbers only"):
        runtime.execute(ask(a=np.array([b"x"], object), b=LEFT))


def test_outputs_that_break_the_promise_are_the_models_failure(tmp_path: Path) -> None:
    one = [{"name": "y", "datatype": "FP64", "shape": [-1, 1]}]
    with pytest.raises(ModelFailed, match="output 'y' should be FP64, the model returned FP32"):
        script(Difference(), tmp_path, outputs=one).execute(ask(a=LEFT, b=RIGHT))
    with pytest.raises(ModelFailed, match="returned OUTPUT__0, OUTPUT__1, expected y"):
        script(Both(), tmp_path, outputs=one).execute(ask(a=LEFT, b=RIGHT))
    with pytest.raises(ModelFailed, match="returned minus, plus, expected y"):
        script(Named(), tmp_path, outputs=one).execute(ask(a=LEFT, b=RIGHT))


def test_a_traced_module_runs_in_evaluation_mode(tmp_path: Path) -> None:
    module = Linear()
    runtime = script(module, tmp_path)
    x = np.ones((2, 4), F32)
    expected = module.eval()(torch.from_numpy(x)).detach().numpy()
    for _ in range(3):
        np.testing.assert_allclose(runtime.execute(ask(x=x)).outputs[0].data, expected, rtol=1e-6)


def test_an_export_brings_its_signature(tmp_path: Path) -> None:
    module = Linear()
    runtime = export(module, tmp_path, torch.zeros(2, 4))
    assert shapes(runtime.signature) == {"x": ("FP32", [-1, 4]), "OUTPUT__0": ("FP32", [-1, 3])}
    assert not runtime.signature.batched
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(F32)
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(runtime.execute(ask(x=x)).outputs[0].data, expected, rtol=1e-5)
    assert TorchRuntime.load(artifact(tmp_path, max_batch=8)).signature.batched


def test_an_exports_outputs_have_the_names_of_its_dict(tmp_path: Path) -> None:
    runtime = export(Named(), tmp_path, torch.zeros(2, 1), torch.zeros(2, 1))
    assert [spec.name for spec in runtime.signature.outputs] == ["minus", "plus"]
    response = runtime.execute(ask(("plus",), right=RIGHT, left=LEFT))
    assert {name: data.tolist() for name, data in arrays(response).items()} == {"plus": [[4.0], [6.0]]}


def test_sizes_that_an_export_rules_out_are_the_clients_mistake(tmp_path: Path) -> None:
    runtime = export(Difference(), tmp_path, torch.zeros(2, 1), torch.zeros(2, 1))
    with pytest.raises(InvalidInput, match="size"):
        runtime.execute(ask(left=LEFT, right=RIGHT[:1].repeat(3, axis=0)))


def test_bfloat16_and_integers_pass(tmp_path: Path) -> None:
    class Double(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return x + x

    runtime = export(Double(), tmp_path, torch.zeros(2, 1, dtype=torch.bfloat16))
    assert shapes(runtime.signature) == {"x": ("BF16", [-1, 1]), "OUTPUT__0": ("BF16", [-1, 1])}
    output = runtime.execute(ask(x=("BF16", np.array([[0x3F80]], np.uint16)))).outputs[0]  # 1.0
    assert (output.datatype, output.data.tolist()) == ("BF16", [[0x4000]])  # 2.0
    undeclared = script(Double(), tmp_path)
    assert undeclared.execute(ask(x=("BF16", np.array([0x3F80], np.uint16)))).outputs[0].datatype == "BF16"
    for dtype in (np.int64, np.uint8, np.float16, np.float64, np.int8):
        output = undeclared.execute(ask(x=np.array([1, 2], dtype))).outputs[0]
        assert (output.data.dtype, output.data.tolist()) == (dtype, [2, 4])
    declared = [{"name": "y", "datatype": "FP32", "shape": [-1]}]
    with pytest.raises(ModelFailed, match="'y' should be FP32, the model returned BF16"):
        script(Double(), tmp_path, outputs=declared).execute(ask(x=("BF16", np.array([1], np.uint16))))


def test_a_program_that_writes_into_its_input_leaves_the_clients_bytes_alone(tmp_path: Path) -> None:
    class Overwrite(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            x.mul_(2)
            return x

    body = np.ones(3, F32).tobytes()
    response = script(Overwrite(), tmp_path).execute(ask(x=np.frombuffer(body, F32)))
    assert response.outputs[0].data.tolist() == [2, 2, 2]
    assert body == np.ones(3, F32).tobytes()


def test_weights_alone_and_pickled_modules_are_refused_unopened(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker,))

    torch.save(Linear().state_dict(), tmp_path / "weights.pt")
    torch.save(Trap(), tmp_path / "module.pth")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "empty.ts").touch()
    for name in ("weights.pt", "module.pth", "old.pt", "empty.ts"):
        with pytest.raises(ConfigError, match=f"{name} holds no program") as caught:
            TorchRuntime.load(artifact(tmp_path / name))
        assert "torch.export" in caught.value.hint
    assert not marker.exists()


def test_programs_run_only_from_trusted_places(tmp_path: Path) -> None:
    script(Difference(), tmp_path)
    with pytest.raises(ConfigError, match="isn't trusted"):
        TorchRuntime.load(artifact(tmp_path / "model.pt", trusted=False))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    script(Linear(), tmp_path)
    path = tmp_path / "model.pt"
    data = bytearray(path.read_bytes())
    data[200:400] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"torch can't load model\.pt"):
        TorchRuntime.load(artifact(path))


def test_devices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="option 'device' is 'tpux'"):
        script(Difference(), tmp_path, device="tpux")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="there is no device 'cuda': torch sees 0 GPUs"):
            script(Difference(), tmp_path, device="cuda")


def test_threads_are_set(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        script(Difference(), tmp_path, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_loading_says_nothing_of_torchscripts_age(tmp_path: Path) -> None:
    script(Difference(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TorchRuntime.load(artifact(tmp_path / "model.pt"))
