"""Runs models written for Triton's Python backend: their ``TritonPythonModel`` is called the way Triton calls it."""

from dragoman.runtimes.triton_python.runtime import TritonPythonRuntime

__all__ = ["TritonPythonRuntime"]
