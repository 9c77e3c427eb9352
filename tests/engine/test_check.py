import numpy as np
import pytest

from dragoman.engine.check import compile_check
from dragoman.errors import InvalidInput, Mismatch
from dragoman.types import DTYPES, InferRequest, Signature, Tensor, TensorSpec

PAIR = Signature(
    (TensorSpec("INPUT0", "FP32", (-1, 4)), TensorSpec("INPUT1", "FP32", (-1, 4))),
    (TensorSpec("OUTPUT0", "FP32", (-1, 4)),),
    batched=True,
    max_batch=8,
)
OPTIONAL = Signature(
    (TensorSpec("text", "BYTES", (1,)), TensorSpec("repeat", "INT32", (1,), optional=True)),
    (TensorSpec("out", "BYTES", (1,)),),
)


def ask(*tensors, outputs=None):
    made = tuple(Tensor(name, kind, np.zeros(shape, DTYPES[kind])) for name, kind, shape in tensors)
    return InferRequest("m", made, outputs=outputs)


def both(shape0, shape1=None, kind="FP32"):
    return ask(("INPUT0", kind, shape0), ("INPUT1", "FP32", shape1 or shape0))


@pytest.mark.parametrize(
    ("signature", "request_"),
    [
        (PAIR, both((1, 4))),
        (PAIR, both((8, 4))),
        (PAIR, ask(("INPUT1", "FP32", (1, 4)), ("INPUT0", "FP32", (1, 4)))),  # any order
        (PAIR, ask(("INPUT0", "FP32", (1, 4)), ("INPUT1", "FP32", (1, 4)), outputs=("OUTPUT0",))),
        (OPTIONAL, ask(("text", "BYTES", (1,)))),
        (OPTIONAL, ask(("text", "BYTES", (1,)), ("repeat", "INT32", (1,)))),
        (Signature((), ()), ask(("whatever", "FP64", (3, 1)), outputs=("anything",))),
    ],
)
def test_what_fits_passes(signature, request_):
    compile_check("m", signature)(request_)


@pytest.mark.parametrize(
    ("signature", "request_", "message"),
    [
        (PAIR, ask(("INPUT0", "FP32", (1, 4))),
         "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['INPUT0'], but missing required input(s)"
         " ['INPUT1']. Please provide all required input(s)."),
        (PAIR, ask(),
         "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing required input(s)"
         " ['INPUT0','INPUT1']. Please provide all required input(s)."),
        (OPTIONAL, ask(),
         "expected number of inputs between 1 and 2 but got 0 inputs for model 'm'. Got input(s) [], but missing"
         " required input(s) ['text']. Please provide all required input(s)."),
        (OPTIONAL, ask(("repeat", "INT32", (1,))),
         "expected number of inputs between 1 and 2 but got 1 inputs for model 'm'. Got input(s) ['repeat'], but"
         " missing required input(s) ['text']. Please provide all required input(s)."),
        (PAIR, both((1, 4), kind="INT32"),
         "inference input 'INPUT0' data-type is 'INT32', but model 'm' expects 'FP32'"),
        (PAIR, both((9, 4)), "inference request batch-size must be <= 8 for 'm'"),
        (PAIR, both((0, 4)), "inference request batch-size must be >= 1 for 'm'"),
        (PAIR, both((2, 4), (1, 4)), "input 'INPUT1' batch size does not match other inputs for 'm'"),
        (OPTIONAL, ask(("text", "BYTES", (2,))),
         "unexpected shape for input 'text' for model 'm'. Expected [1], got [2]."),
        (Signature((), (), batched=True), ask(("x", "FP32", ())),
         "input 'x' of model 'm' needs a first dimension that counts rows, got []"),
        (Signature((), (), batched=True), ask(("x", "FP32", (2,)), ("y", "FP32", (3,))),
         "input 'y' batch size does not match other inputs for 'm'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_the_words_clients_know(signature, request_, message):
    with pytest.raises(Mismatch) as refused:
        compile_check("m", signature)(request_)
    assert refused.value.message == message


@pytest.mark.parametrize("shape", [(1, 3), (4,), (1, 4, 1), ()])
def test_a_wrong_shape_of_a_batching_model_explains_the_batch_dimension(shape):
    with pytest.raises(
        Mismatch, match=r"unexpected shape for input 'INPUT0'.*NOTE: Setting a non-zero max_batch_size"
    ):
        compile_check("m", PAIR)(both(shape, (1, 4)))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            ask(("INPUT0", "FP32", (1, 4)), ("ZZZ", "FP32", (1, 4))),
            "unexpected inference input 'ZZZ' for model 'm'",
        ),
        (ask(outputs=("ZZZ",)), "unexpected inference output 'ZZZ' for model 'm'"),
    ],
)
def test_unknown_names_are_named(request_, message):
    with pytest.raises(InvalidInput) as refused:
        compile_check("m", PAIR)(request_)
    assert refused.value.message == message


def test_a_form_that_has_passed_passes_again_and_opens_no_door_for_others():
    check = compile_check("m", PAIR)
    for _ in range(2):
        check(both((2, 4)))
        with pytest.raises(InvalidInput, match="unexpected shape"):
            check(both((2, 5)))
        with pytest.raises(InvalidInput, match="batch size does not match"):
            check(both((2, 4), (3, 4)))
        with pytest.raises(InvalidInput, match="unexpected inference output"):
            check(ask(("INPUT0", "FP32", (2, 4)), ("INPUT1", "FP32", (2, 4)), outputs=("other",)))


def test_more_forms_than_are_remembered_are_still_checked():
    check = compile_check("m", Signature(PAIR.inputs, PAIR.outputs, batched=True))
    for rows in range(1, 600):
        check(both((rows, 4)))
        with pytest.raises(InvalidInput):
            check(both((rows, 5)))
