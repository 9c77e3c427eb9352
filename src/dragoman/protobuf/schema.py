"""Message classes, made when a protocol is imported, from the compiled form of its ``.proto`` files.

Generated code would tie us to the protobuf releases that its generator knew, and would register our names for the
whole process, where a client's definitions of the same names may be: each schema has a pool of its own instead.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool


class Schema:
    """The definitions of one protocol: every file it needs, in an order in which each comes after its imports."""

    def __init__(self, compiled: bytes) -> None:
        """``compiled`` is a serialized ``FileDescriptorSet``."""
        self._pool = DescriptorPool()
        self.files: Mapping[str, bytes] = {
            file.name: file.SerializeToString()
            for file in descriptor_pb2.FileDescriptorSet.FromString(compiled).file
        }
        for file in self.files.values():
            self._pool.AddSerializedFile(file)

    @classmethod
    def beside(cls, module: str) -> "Schema":
        """That of the protocol which a module belongs to: ``protos.binpb`` in the module's folder."""
        return cls(Path(module).with_name("protos.binpb").read_bytes())

    def message(self, name: str) -> Any:
        """The class of a message, by its full name. Raises KeyError."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))

    def descriptor(self, file: str) -> Any:
        """What one of the files defines. Raises KeyError."""
        return self._pool.FindFileByName(file)

    def file_of(self, symbol: str) -> str | None:
        """The name of the file that defines a service, a method, a message, …; ``None`` if none does."""
        with contextlib.suppress(KeyError):
            return str(self._pool.FindFileContainingSymbol(symbol).name)
        with contextlib.suppress(KeyError):  # methods are no symbols to the runtime
            return str(self._pool.FindMethodByName(symbol).containing_service.file.name)
        return None

    def with_imports(self, name: str) -> Iterator[bytes]:
        """A file and all that it imports, itself first."""
        waiting, seen = [name], {name}
        while waiting:
            file = self._pool.FindFileByName(waiting.pop(0))
            yield self.files[file.name]
            for needed in file.dependencies:
                if needed.name not in seen:
                    seen.add(needed.name)
                    waiting.append(needed.name)
