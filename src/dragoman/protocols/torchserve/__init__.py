"""TorchServe's inference API."""

from dragoman.protocols.torchserve.http import Http, Options

__all__ = ["Http", "Options"]
