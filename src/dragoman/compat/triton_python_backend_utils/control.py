"""What Triton lets models do to models: nothing of it is offered, so that who loads what stays with the operator."""

from collections.abc import Mapping
from typing import NoReturn

from dragoman.compat.triton_python_backend_utils.errors import TritonModelException


def load_model(model_name: str, files: Mapping[str, bytes] | None = None, config: str = "") -> NoReturn:
    """Refused: TritonModelException."""
    raise TritonModelException(f"models can't load models here: the operator loads {model_name!r}")


def unload_model(model_name: str, unload_dependents: bool = False) -> NoReturn:
    """Refused: TritonModelException."""
    raise TritonModelException(f"models can't unload models here: the operator unloads {model_name!r}")
