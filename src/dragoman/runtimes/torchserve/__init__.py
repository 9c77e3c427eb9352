"""Runs models packed for TorchServe: their handlers are called the way TorchServe calls them."""

from dragoman.runtimes.torchserve.runtime import TorchServeRuntime

__all__ = ["TorchServeRuntime"]
