"""What ``serve`` shows a person when everything has been tried: the address, the models, a line to copy."""

import json
import sys
from math import prod
from typing import Any, Final

#: More elements than this don't fit on the line that shows how to ask.
SHORT: Final = 32
EXAMPLES: Final[dict[str, Any]] = {"BYTES": "text", "BOOL": False}

Overview = list[dict[str, Any]]


def show_key(key: str, url: str, *, kept: bool) -> None:
    """Write a key that was made, whatever standard output is: this is the only time. ``url`` may be unknown."""
    lasts = "kept as a digest only" if kept else "good until this server ends, because no auth.store is set"
    lines = [
        "",
        "A key was made, because others than this machine can reach the server and there was none. It may do",
        f"everything, is shown this once, and is {lasts}:",
        "",
        f"    {key}",
        "",
    ]
    if url:
        lines += [f"    curl -H 'Authorization: Bearer {key}' {url}/users/me", ""]
    print("\n".join(lines), flush=True)


def show(url: str, models: Overview, grpc: str = "", keys: bool = False) -> None:
    """Write the banner where standard output is a terminal. ``grpc`` is where gRPC is served, if it is; ``keys`` says
    that callers need one."""
    if not sys.stdout.isatty():
        return
    from dragoman import __version__
    from dragoman.cli import output

    console = output.console()
    also = f"  [dim]gRPC[/] [bold cyan]{grpc}[/]" if grpc else ""
    console.print(f"\n[bold]Dragoman[/] {__version__}  [bold cyan]{url}[/]{also}  [dim]stop with Ctrl-C[/]\n")
    rows = [
        (
            model["name"],
            model["version"],
            model["runtime"],
            output.state(model["state"]),
            output.text(model["reason"]),
        )
        for model in models
    ]
    console.print(output.table(("model", "version", "runtime", "state", ""), rows))
    line = curl(url, models)
    if line and keys:
        line = line.replace("curl ", 'curl -H "Authorization: Bearer $DRAGOMAN_KEY" ', 1)
    if line:
        console.print()
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()


def curl(url: str, models: Overview) -> str:
    """A command that asks the first model that is ready; empty where none is."""
    for model in models:
        if model["state"] == "READY" and model.get("runtime") == "torchserve":
            return f"curl {url}/predictions/{model['name']} -T FILE"
        if model["state"] == "READY":
            address = f"{url}/v2/models/{model['name']}"
            tensors = [_tensor(*spec) for spec in model["inputs"]]
            if not tensors or any(len(tensor["data"]) > SHORT for tensor in tensors):
                return f"curl {address}"
            return f"curl {address}/infer -d '{json.dumps({'inputs': tensors})}'"
    return ""


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    shape = [1 if size < 0 else size for size in shape]
    value = EXAMPLES.get(datatype, 0.0 if datatype.startswith(("FP", "BF")) else 0)
    return {"name": name, "datatype": datatype, "shape": shape, "data": [value] * min(prod(shape), SHORT + 1)}
