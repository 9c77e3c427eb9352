"""Measures a handler's steps when the model's configuration says ``handler: {profile: true}``."""

import functools
import sys
import time
from collections.abc import Callable
from typing import Any


def timed(func: Callable[..., Any]) -> Callable[..., Any]:
    """A handler's method that adds the metric ``ts_handler_<its name>``, in milliseconds."""

    @functools.wraps(func)
    def measured(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = getattr(getattr(self, "context", None), "model_yaml_config", None) or {}
        if not (config.get("handler") or {}).get("profile"):
            return func(self, *args, **kwargs)
        _wait_for_gpu()
        started = time.perf_counter()
        result = func(self, *args, **kwargs)
        _wait_for_gpu()
        taken = (time.perf_counter() - started) * 1000
        self.context.metrics.add_time(f"ts_handler_{func.__name__}", taken)
        return result

    return measured


def _wait_for_gpu() -> None:
    """Work on a GPU goes on after the call that started it has returned."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
