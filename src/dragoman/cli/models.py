"""``dragoman models``: what a running server has, and what each model takes and gives."""

from typing import TYPE_CHECKING, Any

from dragoman.cli.failure import Failure
from dragoman.cli.flags import DEFAULT_URL, AsJson, Url

if TYPE_CHECKING:
    from dragoman.cli.client import Client

EXAMPLES = """
Examples:

dragoman models

dragoman models --url http://10.0.0.7:8080 --json
"""


def models(
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the models of a running server."""
    from dragoman.cli import output
    from dragoman.cli.client import Client, accept

    with Client(url) as client:
        index = accept(client.ask("POST", "/v2/repository/index", b"{}")).json()
        lines = [_describe(client, entry) for entry in index]
    if as_json:
        output.print_json(lines)
        return
    rows = [
        (
            output.text(line["name"]),
            line["version"],
            output.text(line["platform"]),
            output.state(line["state"]),
            output.text(line["reason"] or f"{_tensors(line['inputs'])} -> {_tensors(line['outputs'])}"),
        )
        for line in lines
    ]
    output.console().print(output.table(("model", "version", "runtime", "state", "inputs -> outputs"), rows))


def _describe(client: "Client", entry: dict[str, Any]) -> dict[str, Any]:
    from dragoman.cli.client import model_path

    line = {
        "name": entry["name"],
        "version": entry.get("version", ""),
        "state": entry.get("state", "UNAVAILABLE"),
    }
    line |= {"reason": entry.get("reason", ""), "platform": "", "inputs": [], "outputs": []}
    if line["state"] == "READY":
        try:
            metadata = client.get(model_path(line["name"], line["version"]))
        except Failure:  # unloaded since
            return line
        line |= {key: metadata.get(key, line[key]) for key in ("platform", "inputs", "outputs")}
    return line


def _tensors(specs: list[dict[str, Any]]) -> str:
    return ", ".join(map(describe_tensor, specs)) or "anything"


def describe_tensor(spec: dict[str, Any]) -> str:
    """As in ``x FP32[?,4]``."""
    sizes = ",".join("?" if size < 0 else str(size) for size in spec["shape"])
    return f"{spec['name']} {spec['datatype']}[{sizes}]"
