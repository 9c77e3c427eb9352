"""Explanations with Captum, an extra: how much each number of an input added to one of the model's outputs."""

from typing import Any

from dragoman.compat.need import need
from dragoman.compat.ts.utils.util import PredictionException


def integrated_gradients(
    model: Any,
    tensor_data: Any,
    target: Any = 0,
    n_steps: int = 15,
    layer: Any = None,
    extra: tuple[Any, ...] = (),
) -> Any:
    """Attributions of the input's shape, as nested lists; the way goes from zeros in ``n_steps`` steps.

    ``target`` is the output's number. Where the input is not numbers but, say, words, ``layer`` is the module
    whose output is explained instead. ``extra`` are the model's further arguments. Raises PredictionException
    501 where Captum is missing or the model has no gradients.
    """
    if hasattr(model, "get_inputs"):
        raise PredictionException("a model of ONNX Runtime has no gradients to explain it by", 501)
    try:
        attr = need("captum.attr", "an explanation")
    except ImportError as error:
        raise PredictionException(str(error), 501) from error
    method = attr.IntegratedGradients(model) if layer is None else attr.LayerIntegratedGradients(model, layer)
    target = int(target) if isinstance(target, str | bytes | bytearray) else target
    more = extra or None
    return method.attribute(
        tensor_data, target=target, n_steps=n_steps, additional_forward_args=more
    ).tolist()
