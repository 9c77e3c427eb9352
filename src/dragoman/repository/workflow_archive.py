"""A workflow's archive (``.war``): what its manifest and its specification say. Knows nobody who runs it.

::

    WAR-INF/MANIFEST.json   {"workflow": {"workflowName": …, "handler": "h.py", "specFile": "spec.yaml"}}
    spec.yaml               models:  how each is served, and defaults for all of them
                            dag:     what goes where, by the names of models and of the handler's functions
    h.py                    the functions
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dragoman.repository.archive import Budget
from dragoman.repository.cache import cache_directory, unpack_cached
from dragoman.repository.manifest import MOST_BYTES, read_limited
from dragoman.repository.model_yaml import JAVA_INT, parse_yaml
from dragoman.repository.paths import InvalidArchive, split_path

MANIFEST: Final = ("WAR-INF", "MANIFEST.json")
MOST_NODES: Final = 100
#: What a specification says of serving, TorchServe's defaults, and the least that makes sense.
_NUMBERS: Final = {
    "min-workers": (1, 0),
    "max-workers": (1, 0),
    "batch-size": (1, 1),
    "max-batch-delay": (50, 0),
    "retry-attempts": (1, 0),
    "timeout-ms": (10_000, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A model, or a function of the handler where ``url`` is empty. Times are in milliseconds; ``retry_attempts`` come
    after the first one."""

    name: str
    url: str = ""
    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_batch_delay: int = 50
    retry_attempts: int = 1
    timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """``dag`` has every node and where its answer goes, in the order of the file. ``defaults`` are those of models."""

    nodes: Mapping[str, Node]
    dag: Mapping[str, tuple[str, ...]]
    defaults: Node = field(default_factory=lambda: Node(name=""))

    def before(self, name: str) -> list[str]:
        """The nodes whose answers a node gets."""
        return [source for source, goals in self.dag.items() if name in goals]

    @property
    def functions(self) -> list[str]:
        return [node.name for node in self.nodes.values() if not node.url]


@dataclass(frozen=True, slots=True)
class WorkflowArchive:
    """What lies in an archive. ``handler`` is the name of a file in ``directory``; ``digest`` is SHA-256."""

    directory: Path
    name: str
    handler: str
    spec: WorkflowSpec
    digest: str


def open_workflow_archive(path: Path, cache: Path | None = None) -> WorkflowArchive:
    """Unpack an archive (once: see ``cache``) and read it.

    Raises InvalidArchive, or ConfigError where there is no place to unpack or no YAML to read with.
    """
    directory, digest = unpack_cached(path, cache or cache_directory("workflows"), Budget())
    said = _manifest(directory)
    spec_file, handler = _file(said, "specFile"), _file(said, "handler")
    if not spec_file or not (directory / spec_file).is_file():
        raise InvalidArchive("the workflow's archive has no specification")
    spec = read_spec(parse_yaml(read_limited(directory / spec_file, MOST_BYTES), spec_file))
    if spec.functions and not (handler and (directory / handler).is_file()):
        raise InvalidArchive(f"nobody brings the function {spec.functions[0]!r}: the archive has no handler")
    return WorkflowArchive(directory, str(said.get("workflowName") or ""), handler, spec, digest)


def read_spec(document: Mapping[str, Any]) -> WorkflowSpec:
    """The specification in a YAML document. Raises InvalidArchive for what can be none."""
    models, dag = document.get("models") or {}, document.get("dag")
    if not isinstance(models, dict) or not isinstance(dag, dict) or not dag:
        raise InvalidArchive("a workflow's specification has the mappings 'models' and 'dag'")
    numbers = {key: _number(models, key, default, least) for key, (default, least) in _NUMBERS.items()}
    edges: dict[str, tuple[str, ...]] = {}
    for source, goals in dag.items():
        edges[_name(source)] = tuple(dict.fromkeys(_name(goal) for goal in _goals(goals)))
    names = dict.fromkeys([*edges, *(goal for goals in edges.values() for goal in goals)])
    if len(names) > MOST_NODES:
        raise InvalidArchive(f"a workflow has at most {MOST_NODES} nodes")
    nodes = {name: _node(name, models.get(name), numbers) for name in names}
    return WorkflowSpec(nodes, edges, _with("", "", numbers))


def _node(name: str, said: Any, numbers: Mapping[str, int]) -> Node:
    if said is None:  # a function has one worker and is asked one request at a time
        limits = {key: numbers[key] for key in ("retry-attempts", "timeout-ms")}
        return _with(name, "", {**{key: default for key, (default, _) in _NUMBERS.items()}, **limits})
    if not isinstance(said, dict) or not isinstance(said.get("url"), str) or not said["url"]:
        raise InvalidArchive(f"the workflow's model {name!r} needs a url")
    own = {key: _number(said, key, numbers[key], least) for key, (_, least) in _NUMBERS.items()}
    if own["max-workers"] < own["min-workers"]:
        raise InvalidArchive(f"the workflow's model {name!r} has fewer max-workers than min-workers")
    return _with(name, said["url"], own)


def _with(name: str, url: str, numbers: Mapping[str, int]) -> Node:
    return Node(name=name, url=url, **{key.replace("-", "_"): value for key, value in numbers.items()})


def _number(said: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = said.get(key, default)
    if type(value) is not int or not least <= value < JAVA_INT:
        raise InvalidArchive(f"{key} in the workflow's specification must be a whole number from {least} on")
    return value


def _goals(value: Any) -> list[Any]:
    goals = value if isinstance(value, list) else [value]
    return [goal for goal in goals if goal not in (None, "")]


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidArchive("a node of a workflow has a name")
    return value


def _manifest(directory: Path) -> Mapping[str, Any]:
    path = directory.joinpath(*MANIFEST)
    if not path.is_file():
        raise InvalidArchive(
            "Missing Workflow entry in manifest file.", hint="there is no WAR-INF/MANIFEST.json"
        )
    try:
        document = json.loads(read_limited(path, MOST_BYTES).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidArchive("Failed to parse signature.", hint=f"{MANIFEST[-1]} is not JSON") from error
    said = document.get("workflow") if isinstance(document, dict) else None
    if not isinstance(said, dict):
        raise InvalidArchive("Missing Workflow entry in manifest file.")
    return said


def _file(said: Mapping[str, Any], key: str) -> str:
    """The name of a file of the archive; a handler may be named with folders, of which none counts."""
    value = said.get(key) or ""
    if not isinstance(value, str):
        raise InvalidArchive(f"{key} must be a text in {MANIFEST[-1]}")
    parts = split_path(value) if value else ()
    return "/".join(parts)
