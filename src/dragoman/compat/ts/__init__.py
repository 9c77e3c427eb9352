"""TorchServe's handler API, so that handler files run unchanged: ``import ts`` finds this package.

Written for Dragoman from the behaviour of TorchServe 0.12; ``docs/handlers.md`` has what differs.
"""

from collections.abc import Mapping
from typing import Final

from dragoman.compat.ts.version import __version__

__all__ = ["NOT_HERE", "__version__"]

_DALI = (
    "NVIDIA DALI pipelines run only in TorchServe; preprocess with Pillow or PyTorch in a handler of your own"
)
_SPREAD = "models spread over several processes (torchrun, DeepSpeed, PiPPy) run only in TorchServe"

#: Modules of TorchServe that are not offered, and what to say to code that imports them.
NOT_HERE: Final[Mapping[str, str]] = {
    "ts.handler_utils.distributed": _SPREAD,
    "ts.handler_utils.preprocess": _DALI,
    "ts.launcher": "start the server with `dragoman serve` or dragoman.testing",
    "ts.llm_launcher": "start the server with `dragoman serve`",
    "ts.model_server": "start the server with `dragoman serve`",
    "ts.torch_handler.dali_handler": _DALI,
    "ts.torch_handler.dali_image_classifier": _DALI,
    "ts.torch_handler.distributed": _SPREAD,
    "ts.torch_handler.trt_llm_handler": "it needs NVIDIA TensorRT-LLM; call it from a handler of your own",
    "ts.torch_handler.vllm_handler": "it needs vLLM; call it from a handler of your own",
}
