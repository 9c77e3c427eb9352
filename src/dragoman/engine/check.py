"""Does a request fit a model's signature? Compiled once per model, run once per request.

The texts are those of the Open Inference Protocol's reference server, which clients show to people and match on.
"""

from collections.abc import Callable, Hashable

from dragoman.errors import InvalidInput, Mismatch
from dragoman.types import InferRequest, Signature, Tensor, TensorSpec

Check = Callable[[InferRequest], None]

#: Forms of good inputs that a model remembers, so that it need not look closer when they come again.
_FORMS = 256

_BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each"
    " input shape. If you want to specify the full shape including the batch dim in your input dims config, try"
    " setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)


def compile_check(model: str, signature: Signature) -> Check:
    """A function that raises InvalidInput for a request the model can't take. No declared inputs: all pass."""
    specs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name for spec in signature.outputs}
    required = sum(not spec.optional for spec in signature.inputs)
    batched, max_batch = signature.batched, signature.max_batch
    anything = not specs and not batched
    passed: set[Hashable] = set()

    def check(request: InferRequest) -> None:
        if request.outputs is not None and outputs:
            for name in request.outputs:
                if name not in outputs:
                    raise InvalidInput(f"unexpected inference output '{name}' for model '{model}'")
        if anything:
            return
        form: tuple[Hashable, ...] = ()
        for tensor in request.inputs:
            form += (tensor.name, tensor.datatype, tensor.data.shape)
        if form in passed:
            return
        if specs:
            check_inputs(request)
        if batched:
            _check_rows(request, model, max_batch)
        if specs and len(passed) < _FORMS:  # without specs a stranger would say how big a form is
            passed.add(form)

    def check_inputs(request: InferRequest) -> None:
        inputs = request.inputs
        if not required <= len(inputs) <= len(specs):
            raise _wrong_count(request, model, signature, required)
        for tensor in inputs:
            spec = specs.get(tensor.name)
            if spec is None:
                raise InvalidInput(f"unexpected inference input '{tensor.name}' for model '{model}'")
            if tensor.datatype != spec.datatype:
                raise Mismatch(
                    f"inference input '{tensor.name}' data-type is '{tensor.datatype}',"
                    f" but model '{model}' expects '{spec.datatype}'"
                )
            if tensor.data.shape != spec.shape and not _fits(tensor.data.shape, spec.shape):
                raise _wrong_shape(tensor, spec, model, batched and max_batch > 0)
        if len(inputs) < len(specs):
            _check_missing(request, model, signature, required)

    return check


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    for size, want in zip(shape, wanted, strict=True):  # noqa: SIM110 - a generator would double the time
        if want != size and want != -1:
            return False
    return True


def _check_rows(request: InferRequest, model: str, max_batch: int) -> None:
    rows = -1
    for tensor in request.inputs:
        shape = tensor.data.shape
        if not shape:
            raise Mismatch(
                f"input '{tensor.name}' of model '{model}' needs a first dimension that counts rows, got []"
            )
        if rows == -1:
            rows = shape[0]
        elif shape[0] != rows:
            raise Mismatch(f"input '{tensor.name}' batch size does not match other inputs for '{model}'")
    if rows < 1:
        raise Mismatch(f"inference request batch-size must be >= 1 for '{model}'")
    if max_batch and rows > max_batch:
        raise Mismatch(f"inference request batch-size must be <= {max_batch} for '{model}'")


def _check_missing(request: InferRequest, model: str, signature: Signature, required: int) -> None:
    given = {tensor.name for tensor in request.inputs}
    if any(spec.name not in given and not spec.optional for spec in signature.inputs):
        raise _wrong_count(request, model, signature, required)


def _wrong_count(request: InferRequest, model: str, signature: Signature, required: int) -> Mismatch:
    given = [tensor.name for tensor in request.inputs]
    missing = [spec.name for spec in signature.inputs if not spec.optional and spec.name not in given]
    if required == len(signature.inputs):
        expected = f"expected {required} inputs"
    else:
        expected = f"expected number of inputs between {required} and {len(signature.inputs)}"
    return Mismatch(
        f"{expected} but got {len(given)} inputs for model '{model}'. Got input(s) [{_quoted(given)}],"
        f" but missing required input(s) [{_quoted(missing)}]. Please provide all required input(s)."
    )


def _wrong_shape(tensor: Tensor, spec: TensorSpec, model: str, note: bool) -> Mismatch:
    return Mismatch(
        f"unexpected shape for input '{tensor.name}' for model '{model}'. Expected {_dims(spec.shape)},"
        f" got {_dims(tensor.data.shape)}.{_BATCH_NOTE if note else ''}"
    )


def _quoted(names: list[str]) -> str:
    return ",".join(f"'{name}'" for name in names)


def _dims(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
