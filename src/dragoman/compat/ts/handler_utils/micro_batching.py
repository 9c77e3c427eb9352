"""Cuts a batch into small ones and lets a handler's three steps work on several of them at once."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

HANDLER_METHODS: Final = ("preprocess", "inference", "postprocess")


class MicroBatching:
    """Put in place of a BaseHandler's ``handle``: ``self.handle = MicroBatching(self, micro_batch_size=4)``.

    ``parallelism`` is the number of threads of each step, 1 where it says nothing. The first failure of a
    step is the call's failure.
    """

    def __init__(
        self, parent_handler: Any, micro_batch_size: int = 1, parallelism: Mapping[str, int] | None = None
    ) -> None:
        self.handler, self.micro_batch_size = parent_handler, micro_batch_size
        self._parallelism: dict[str, int] = {}
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._alone = threading.Lock()
        self.parallelism = dict(parallelism or {})

    @property
    def parallelism(self) -> dict[str, int]:
        return dict(self._parallelism)

    @parallelism.setter
    def parallelism(self, parallelism: Mapping[str, int]) -> None:
        """Change the number of threads of these steps, between two calls."""
        if unknown := sorted(parallelism.keys() - set(HANDLER_METHODS)):
            raise ValueError(f"no step of a handler: {', '.join(unknown)}")
        with self._alone:
            self._parallelism.update(parallelism)
            self.shutdown()

    def __call__(self, data: Any, context: Any) -> Any:
        handler = self.handler
        handler.context = context
        started = time.perf_counter()
        if os.environ.get("ENABLE_TORCH_PROFILER"):
            output, _ = handler._infer_with_profiler(data=data)
        elif handler._is_describe():
            output = [handler.describe_handle()]
        elif handler._is_explain():
            output = handler.explain_handle(handler.preprocess(data), data)
        else:
            output = self.handle(data)
        taken = round((time.perf_counter() - started) * 1000, 2)
        context.metrics.add_time("HandlerTime", taken, None, "ms")
        return output

    def handle(self, data: Sequence[Any]) -> list[Any]:
        """The three steps' result for all of ``data``, in order."""
        size = max(1, self.micro_batch_size)
        with self._alone:
            last = [self._start(data[first : first + size]) for first in range(0, len(data), size)]
            return [item for future in last for item in future.result()]

    def shutdown(self) -> None:
        """End the threads; the next call starts new ones."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown()

    def _start(self, part: Sequence[Any]) -> "Future[Any]":
        """Queue a part for all steps. A step waits for the one before it; all keep the parts' order."""
        future: Future[Any] = Future()
        future.set_result(part)
        for name in HANDLER_METHODS:
            future = self._pool(name).submit(self._step, name, future)
        return future

    def _step(self, name: str, before: "Future[Any]") -> Any:
        return getattr(self.handler, name)(before.result())

    def _pool(self, name: str) -> ThreadPoolExecutor:
        if name not in self._pools:
            threads = max(1, self._parallelism.get(name, 1))
            self._pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=f"dragoman-{name}")
        return self._pools[name]
