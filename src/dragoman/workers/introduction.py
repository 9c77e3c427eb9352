"""What a model says of itself once it is loaded, as JSON and back: the first message of a worker. Knows no process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dragoman.runtimes.base import Runtime
from dragoman.types import Signature
from dragoman.workers.signatures import describe_signature, read_signature


@dataclass(frozen=True, slots=True)
class Introduction:
    """Whatever the server has to know of a loaded model; ``faces`` is what else it can be asked, by name."""

    signature: Signature
    fast: bool = False
    takes_requests: bool = False
    takes_documents: bool = False
    takes_rows: bool = False
    talks: bool = False
    decoupled: bool = False
    most_requests: int = 1
    concurrent: bool = False
    continuous: bool = False
    faces: Mapping[str, Signature] = field(default_factory=dict)
    description: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, runtime: Runtime) -> "Introduction":
        """What a runtime of this process says."""
        return cls(
            runtime.signature,
            runtime.fast,
            runtime.takes_requests,
            runtime.takes_documents,
            runtime.takes_rows,
            runtime.talks,
            runtime.decoupled,
            runtime.most_requests,
            runtime.concurrent,
            runtime.continuous,
            dict(runtime.faces),
            runtime.description,
        )

    def agrees(self, other: "Introduction") -> bool:
        """Whether another copy of the model takes and gives the same."""
        return self.signature == other.signature and self.faces == other.faces


def introduce(runtime: Runtime) -> dict[str, Any]:
    """The message of a worker that has loaded ``runtime``."""
    return {
        "signature": describe_signature(runtime.signature),
        "fast": runtime.fast,
        "takes_requests": runtime.takes_requests,
        "takes_documents": runtime.takes_documents,
        "takes_rows": runtime.takes_rows,
        "talks": runtime.talks,
        "decoupled": runtime.decoupled,
        "most_requests": runtime.most_requests,
        "concurrent": runtime.concurrent,
        "continuous": runtime.continuous,
        "faces": {name: describe_signature(signature) for name, signature in runtime.faces.items()},
        "description": runtime.description,
    }


def read_introduction(message: Mapping[str, Any]) -> Introduction:
    """Raises ValueError, TypeError or KeyError for what no worker of ours would say."""
    description = message["description"]
    if description is not None and not isinstance(description, dict):
        raise TypeError("a description is an object")
    return Introduction(
        read_signature(message["signature"]),
        bool(message["fast"]),
        bool(message["takes_requests"]),
        bool(message["takes_documents"]),
        bool(message["takes_rows"]),
        bool(message["talks"]),
        bool(message["decoupled"]),
        max(1, int(message["most_requests"])),
        bool(message["concurrent"]),
        bool(message["continuous"]),
        {str(name): read_signature(signature) for name, signature in message["faces"].items()},
        description,
    )
