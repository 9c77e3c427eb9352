"""Client libraries whose definitions have the same names, side by side in one process.

Triton's and KServe's generated code both register ``inference.ModelInferRequest`` for the whole process; whoever is
imported second fails. Each is imported here with a pool of its own, and is otherwise as it was published.
"""

import importlib
from types import ModuleType
from unittest import mock

from google.protobuf import descriptor_pool


def import_apart(name: str) -> ModuleType:
    """A module whose generated code doesn't meet anybody else's."""
    pool = descriptor_pool.DescriptorPool()
    with mock.patch.object(descriptor_pool, "Default", return_value=pool):
        return importlib.import_module(name)


triton = import_apart("tritonclient.grpc")
triton_aio = importlib.import_module("tritonclient.grpc.aio")
