"""The rules between hints and tensors, one a line: what a method takes and gives, as a signature."""

import datetime
import json
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from dragoman.errors import InvalidInput, InvalidOutput
from dragoman.runtimes.service.parameters import read_hints, read_parameters
from dragoman.runtimes.service.places import make_plan
from dragoman.runtimes.service.tensors import read_arguments, write_results
from dragoman.tensors import bytes_array
from dragoman.types import InferRequest, Tensor, TensorSpec


class Tag(Enum):
    A = "a"


class Level(Enum):
    LOW = 1
    HIGH = 2


class Text(BaseModel):
    text: str


class Row(BaseModel):
    name: str
    age: int = 0


class Nested(BaseModel):
    rows: list[Row]
    limit: int = 3


class Result(BaseModel):
    texts: list[str]
    best: float


#: A type, and what it is as a parameter beside a list, where nothing is called for each row.
TAKEN = [
    (str, "x BYTES [1]"),
    (bytes, "x BYTES [1]"),
    (Tag, "x BYTES [1]"),
    (Level, "x INT64 [1]"),
    (Literal["a", 1], "x BYTES [1]"),
    (Literal["a", "b"], "x BYTES [1]"),
    (Literal[1, 2], "x INT64 [1]"),
    (datetime.date, "x BYTES [1]"),
    (bool, "x BOOL [1]"),
    (int, "x INT64 [1]"),
    (float, "x FP64 [1]"),
    (Annotated[int, Field(ge=0)], "x INT64 [1]"),
    (int | None, "x INT64 [1]"),
    (list[str], "x BYTES [-1]"),
    (list[int], "x INT64 [-1]"),
    (list[list[float]], "x FP64 [-1, -1]"),
    (list[Text], "text BYTES [-1]"),
    (list[Row], "name BYTES [-1], age INT64 [-1]"),
    (list[Nested], "x BYTES [1]"),
    (Row, "x BYTES [1]"),
    (dict[str, Any], "x BYTES [1]"),
    (int | str, "x BYTES [1]"),
    (Any, "x BYTES [1]"),
    (np.ndarray, "x FP64 [-1, -1]"),
    (NDArray[np.uint8], "x UINT8 [-1, -1]"),
    (np.ndarray[tuple[int, Literal[4]], np.dtype[np.float32]], "x FP32 [-1, 4]"),
    (np.ndarray[tuple[int], np.dtype[np.bool_]], "x BOOL [-1]"),
]


def plan_of(method, batch=False, stream=False):
    result = read_hints(method).get("return")
    return make_plan(read_parameters(method, "/m", "POST"), result, stream=stream, batch=batch)


def show(specs):
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in specs)


def method_of(hint, returns=None):
    def method(rows, x):
        return None

    method.__annotations__ = {"rows": list[int], "x": hint, "return": returns}
    return method


def request(**inputs):
    return InferRequest("m", tuple(tensor(name, data) for name, data in inputs.items()))


def tensor(name, data):
    if isinstance(data[0], str | bytes):
        values = [each.encode() if isinstance(each, str) else each for each in data]
        return Tensor(name, "BYTES", bytes_array(values, [len(values)]))
    array = np.asarray(data)
    return Tensor(name, {"f": "FP64", "i": "INT64", "b": "BOOL"}[array.dtype.kind], array)


@pytest.mark.parametrize(("hint", "specs"), TAKEN)
def test_what_a_type_is_as_a_tensor(hint, specs):
    assert show(plan_of(method_of(hint)).signature.inputs) == f"rows INT64 [-1], {specs}"


@pytest.mark.parametrize(
    ("returns", "specs"),
    [
        (int, "output INT64 [1]"),
        (list[str], "output BYTES [-1]"),
        (list[Row], "name BYTES [-1], age INT64 [-1]"),
        (Result, "texts BYTES [-1], best FP64 [1]"),
        (Nested, "name BYTES [-1], age INT64 [-1], limit INT64 [1]"),
        (dict[str, int], "output BYTES [1]"),
        (None, "output BYTES [1]"),
        (NDArray[np.float32], "output FP32 [-1, -1]"),
    ],
)
def test_what_it_is_as_a_result(returns, specs):
    assert show(plan_of(method_of(int, returns)).signature.outputs) == specs


def test_only_single_values_are_rows():
    def method(text: str, limit: int = 3) -> Row: ...

    plan = plan_of(method)
    assert plan.rows
    assert plan.signature.batched
    assert show(plan.signature.inputs) == "text BYTES [-1], limit INT64 [-1]"
    assert [spec.optional for spec in plan.signature.inputs] == [False, True]
    assert show(plan.signature.outputs) == "name BYTES [-1], age INT64 [-1]"
    assert read_arguments(plan, request(text=["a", "b"])) == [{"text": "a"}, {"text": "b"}]
    outputs = write_results(plan, [{"name": "x", "age": 1}, {"name": "y", "age": 2}])
    assert [output.data.tolist() for output in outputs] == [[b"x", b"y"], [1, 2]]


def test_rows_of_different_length_do_not_fit():
    def method(text: str, limit: int) -> str: ...

    with pytest.raises(InvalidInput, match="different numbers of rows"):
        read_arguments(plan_of(method), request(text=["a", "b"], limit=[1]))


def test_an_array_for_each_row_is_stacked_and_anything_else_is_json():
    def vector(text: str) -> np.ndarray[tuple[Literal[2]], np.dtype[np.float32]]: ...
    def words(text: str) -> list[str]: ...

    plan = plan_of(vector)
    assert show(plan.signature.outputs) == "output FP32 [-1, 2]"
    (output,) = write_results(plan, [np.array([1, 2], np.float32), np.array([3, 4], np.float32)])
    assert output.data.tolist() == [[1, 2], [3, 4]]
    plan = plan_of(words)
    assert show(plan.signature.outputs) == "output BYTES [-1]"
    (output,) = write_results(plan, [["a"], ["b", "c"]])
    assert [json.loads(each) for each in output.data] == [["a"], ["b", "c"]]


def test_a_sole_model_is_its_fields():
    def method(payload: Nested) -> Result: ...

    plan = plan_of(method)
    assert show(plan.signature.inputs) == "name BYTES [-1], age INT64 [-1], limit INT64 [1]"
    assert read_arguments(plan, request(name=["a", "b"], age=[1, 2])) == [
        {"payload": {"rows": [{"name": "a", "age": 1}, {"name": "b", "age": 2}]}}
    ]


def test_fields_that_would_be_called_the_same_have_their_parameters_name_before_them():
    def method(ours: list[Text], theirs: list[Text]) -> list[bool]: ...

    plan = plan_of(method)
    assert show(plan.signature.inputs) == "ours.text BYTES [-1], theirs.text BYTES [-1]"
    given = request(**{"ours.text": ["a"], "theirs.text": ["b"]})
    assert read_arguments(plan, given) == [{"ours": [{"text": "a"}], "theirs": [{"text": "b"}]}]


def test_json_and_parameters_are_read():
    def method(rows: list[int], options: dict[str, int], scale: float = 1.0) -> int: ...

    plan, asked = plan_of(method), request(rows=[1], options=['{"a": 1}'])
    asked.parameters = {"scale": 2.5, "unknown": 1}
    assert read_arguments(plan, asked) == [{"rows": [1], "options": {"a": 1}, "scale": 2.5}]
    with pytest.raises(InvalidInput, match="input 'options' must be JSON"):
        read_arguments(plan, request(rows=[1], options=["{"]))
    with pytest.raises(InvalidInput, match="must be UTF-8"):
        read_arguments(plan, request(rows=[1], options=[b"\xff"]))


def test_bytes_stay_bytes():
    def method(image: bytes) -> int: ...

    assert read_arguments(plan_of(method), request(image=[b"\xff\x00"])) == [{"image": b"\xff\x00"}]


def test_a_stream_is_rows_of_its_items():
    def method(until: int) -> Iterator[Row]: ...

    plan = make_plan(read_parameters(method, "/m", "POST"), Row, stream=True, batch=False)
    assert not plan.rows
    assert show(plan.signature.inputs) == "until INT64 [1]"
    assert show(plan.signature.outputs) == "name BYTES [-1], age INT64 [-1]"


def test_a_batched_list_is_rows_that_may_be_joined():
    def method(texts: list[str]) -> list[int]: ...

    assert plan_of(method, batch=True).signature.batched
    assert not plan_of(method).signature.batched


def test_results_that_do_not_fit_are_told():
    def table(rows: list[int]) -> list[list[int]]: ...
    def models(rows: list[int]) -> list[Row]: ...

    with pytest.raises(InvalidOutput, match="rows differ in length"):
        write_results(plan_of(table), [[[1], [1, 2]]])
    with pytest.raises(InvalidOutput, match="has a row without a value"):
        write_results(plan_of(models), [[{"name": None, "age": 1}]])


def test_no_rows_are_tensors_too():
    def models(rows: list[int]) -> list[Row]: ...

    outputs = write_results(plan_of(models), [[]])
    assert [(output.datatype, output.shape) for output in outputs] == [("BYTES", (0,)), ("INT64", (0,))]


def test_a_spec_s_form_is_the_core_s_own():
    assert isinstance(plan_of(method_of(int)).signature.inputs[0], TensorSpec)
