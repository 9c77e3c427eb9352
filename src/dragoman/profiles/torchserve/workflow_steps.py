"""A workflow as steps of an ensemble, and what it answers and shows. Pure: nobody is asked here."""

import json
from collections.abc import Sequence
from typing import Any, Final

from dragoman.engine.ensemble import Ensemble, Step
from dragoman.repository.workflow_archive import WorkflowSpec
from dragoman.types import Tensor

#: What a handler's answer is called by its runtime, and what a handler calls the answer of the one node before it.
BODY: Final = "body"


def part_name(workflow: str, node: str) -> str:
    """What a workflow's model or function is called among the models."""
    return f"{workflow}__{node}"


def ensemble_of(workflow: str, spec: WorkflowSpec) -> Ensemble:
    """The steps of a workflow: each node's answer is a tensor of its name.

    A node that follows one other gets its answer as the body; of several each answer under its node's name. Raises
    ConfigError for a graph that has no order.
    """
    steps = []
    for node in spec.nodes.values():
        before = spec.before(node.name)
        inputs = {BODY: before[0]} if len(before) == 1 else {name: name for name in before}
        step = Step(
            node.name,
            part_name(workflow, node.name),
            inputs=inputs if before else None,
            outputs={BODY: node.name},
            attempts=1 + node.retry_attempts,
            timeout=node.timeout_ms / 1000,
        )
        steps.append(step)
    return Ensemble(steps, [name for name in spec.nodes if not spec.dag.get(name)])


def encode(outputs: Sequence[Tensor]) -> bytes:
    """The last node's answer as it is; of several last ones an object with each under its node's name."""
    if len(outputs) == 1:
        return bytes(outputs[0].data.item())
    return json.dumps(
        {tensor.name: _value(bytes(tensor.data.item())) for tensor in outputs}, indent=2
    ).encode()


def _value(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace")


def show_dag(spec: WorkflowSpec) -> str:
    """As Java prints a map of lists."""
    edges = [f"{source}=[{', '.join(goals)}]" for source, goals in spec.dag.items()]
    return "{" + ", ".join(edges) + "}"
