"""``dragoman models``: what a running server has, what each model takes and gives, and everything that changes them."""

import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from dragoman.cli.failure import USAGE, Failure
from dragoman.cli.flags import DEFAULT_URL, AsJson, Key, Url

if TYPE_CHECKING:
    from dragoman.cli.client import Client

EXAMPLES = """
Examples:

dragoman models

dragoman models --url http://10.0.0.7:8080 --json

dragoman models load iris-2.onnx --name iris --version 2

dragoman models traffic iris 1=90 2=10
"""
_LIST = "\nExamples:\n\ndragoman models list --json\n"
_SHOW = "\nExamples:\n\ndragoman models show iris\n"
_LOAD = """
Examples:

dragoman models load iris-2.onnx --name iris --version 2

dragoman models load https://models.example.org/iris.onnx --digest sha256:2c26b46b...

dragoman models load bert.mar --set instances=2 --set max_instances=4 --no-default
"""
_UNLOAD = "\nExamples:\n\ndragoman models unload iris --version 1\n"
_DEFAULT = "\nExamples:\n\ndragoman models default iris 2\n"
_ROLLBACK = "\nExamples:\n\ndragoman models rollback iris\n"
_SCALE = "\nExamples:\n\ndragoman models scale iris 2 --max 8\n"
_TRAFFIC = """
Examples:

dragoman models traffic iris 1=90 2=10

dragoman models traffic iris --shadow 3

dragoman models traffic iris --all-to-default

dragoman models traffic iris
"""

models = typer.Typer(help="List, inspect, load, scale, split and roll back the models of a running server.")

Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Version = Annotated[str, typer.Option(metavar="VERSION", help="One version instead of the default or all.")]


@models.callback(invoke_without_command=True, epilog=EXAMPLES)
def callback(context: typer.Context, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the models of a running server, or change them with one of the commands."""
    if context.invoked_subcommand is None:
        list_models(url, as_json)


@models.command("list", epilog=_LIST)
def list_models(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the models: version, runtime, state, and what each takes and gives or why it can't be loaded."""
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


@models.command("show", epilog=_SHOW)
def show(name: Name, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Show one model: its versions, who answers, instances, memory, traffic, and where it came from."""
    from dragoman.cli import output

    document = _call(url, key, "GET", _path(name))
    if as_json:
        output.print_json(document)
        return
    rows = [_version_row(version, document) for version in document["versions"]]
    columns = ("version", "state", "answers", "instances", "memory", "waiting", "source")
    output.console().print(output.table(columns, rows))
    _print_report(document["traffic"]["report"])


@models.command("load", epilog=_LOAD)
def load(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A name in the model store, or a URL.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Call the model so.")] = "",
    version: Version = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as in model.toml.")
    ] = None,
    digest: Annotated[str, typer.Option(metavar="SHA256", help="Refuse anything else.")] = "",
    default: Annotated[
        bool, typer.Option("--default/--no-default", help="Let it answer who names no version.")
    ] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a version of this number.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Load a model, and show how far it is; what serves now serves on until the new one can."""
    from dragoman.cli import output

    order = {"source": source, "name": name, "version": version, "digest": digest, "wait": False}
    order |= {"settings": _settings(settings or []), "default": default, "replaces": replace}
    operation = _follow(url, key, _call(url, key, "POST", "/management/models", order))
    if as_json:
        output.print_json(operation)
        return
    for loaded in operation["loaded"]:
        print(f"{loaded['name']} {loaded['version']} is {loaded['state']}")


@models.command("unload", epilog=_UNLOAD)
def unload(
    name: Name, version: Version = "", url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Unload a model or one version of it, when everything that was accepted is answered."""
    path = _path(name) + (f"/versions/{quote(version, safe='')}" if version else "")
    document = _call(url, key, "DELETE", path)
    _tell(document, f"{name} {', '.join(document['unloaded'])} unloaded", as_json)


@models.command("default", epilog=_DEFAULT)
def default(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version.")],
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Let a version answer the requests that name none."""
    document = _call(url, key, "PUT", _path(name) + "/default", {"version": version})
    _tell(document, f"{name} {document['default']} answers who names no version", as_json)


@models.command("rollback", epilog=_ROLLBACK)
def rollback(name: Name, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Let the version answer that was the default before; once more goes further back."""
    document = _call(url, key, "POST", _path(name) + "/rollback")
    _tell(document, f"{name} {document['default']} answers who names no version, as before", as_json)


@models.command("scale", epilog=_SCALE)
def scale(
    name: Name,
    least: Annotated[int, typer.Argument(metavar="MIN", min=0, help="Instances at least.")],
    most: Annotated[
        int, typer.Option("--max", metavar="MAX", help="Instances at most: it follows the load.")
    ] = 0,
    version: Version = "",
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Keep so many instances of a model, or between so many and --max."""
    version = version or _call(url, key, "GET", _path(name))["default"]
    path = f"{_path(name)}/versions/{quote(version, safe='')}/instances"
    document = _call(url, key, "PUT", path, {"min": least, "max": most})
    _tell(document, f"{name} {version} has {document['instances']['now']} instances", as_json)


@models.command("traffic", epilog=_TRAFFIC)
def traffic(
    name: Name,
    shares: Annotated[
        list[str] | None, typer.Argument(metavar="[VERSION=PERCENT]...", help="Shares, 100 in all.")
    ] = None,
    shadow: Annotated[
        str, typer.Option(metavar="VERSION", help="Copy every request to this version; it answers nobody.")
    ] = "",
    all_to_default: Annotated[
        bool, typer.Option("--all-to-default", help="No shares and no shadow any more.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Split a model's traffic between its versions, or copy it to one; without either, tell how it is split."""
    path = _path(name) + "/traffic"
    if shares or shadow or all_to_default:
        wanted = {"shares": dict(map(_share, shares or [])), "shadow": shadow}
        document = _call(url, key, "PUT", path, wanted)
    else:
        document = _call(url, key, "GET", path)
    split = ", ".join(f"{version}: {share} %" for version, share in document["shares"].items())
    copied = f"; copied to {document['shadow']}" if document["shadow"] else ""
    _tell(document, f"{name}: {split or 'everything to the default'}{copied}", as_json)
    if not as_json:
        _print_report(document["report"])


def _path(name: str) -> str:
    return f"/management/models/{quote(name, safe='')}"


def _call(url: str, key: str, method: str, path: str, document: Any = None) -> Any:
    """The answer's JSON. Raises Failure with the server's own words where it refuses."""
    import json

    from dragoman.cli.client import Client, accept

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = None if document is None else json.dumps(document).encode()
    with Client(url) as client:
        return accept(client.ask(method, path, body, headers)).json()


def _follow(url: str, key: str, operation: dict[str, Any]) -> Any:
    """Look at an operation until it has ended. Raises Failure when it has failed."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        while operation["state"] == "running":
            total = operation["total_bytes"] or None
            bar.update(task, description=operation["step"], completed=operation["done_bytes"], total=total)
            time.sleep(0.1)
            operation = _call(url, key, "GET", f"/management/operations/{operation['id']}")
    if operation["state"] == "failed":
        raise Failure(operation["error"])
    return operation


def _settings(pairs: list[str]) -> dict[str, Any]:
    import tomllib

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Failure(f"--set takes KEY=VALUE, got {pair!r}", code=USAGE)
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value  # a word needs no quotes
    return found


def _share(text: str) -> tuple[str, int]:
    version, _, share = text.rpartition("=")
    if not version or not share.isdigit():
        raise Failure(f"a share is VERSION=PERCENT, got {text!r}", code=USAGE)
    return version, int(share)


def _tell(document: Any, sentence: str, as_json: bool) -> None:
    from dragoman.cli import output

    if as_json:
        output.print_json(document)
    else:
        print(output.plain(sentence))


def _version_row(version: dict[str, Any], model: dict[str, Any]) -> tuple[str, ...]:
    from dragoman.cli import output

    shares, shadow = model["traffic"]["shares"], model["traffic"]["shadow"]
    answers = "default" if version["version"] == model["default"] else ""
    answers = f"{shares[version['version']]} %" if version["version"] in shares else answers
    answers = "nobody (shadow)" if version["version"] == shadow else answers
    limits = version["instances"]
    instances = f"{limits['now']} of {limits['min']} to {limits['max']}" if limits else ""
    memory = f"{version['memory_bytes'] >> 20} MiB" if version["memory_bytes"] else ""
    told = version["reason"] or version["step"] or version["source"]
    return (
        output.text(version["version"]),
        output.state(version["state"]),
        answers,
        instances,
        memory,
        str(version["waiting"]),
        output.text(told),
    )


def _print_report(report: dict[str, Any] | None) -> None:
    if report is None:
        return
    compared = report["equal"] + report["different"]
    print(
        f"shadow: {report['copied']} copied, {compared} compared, {report['different']} different"
        f" ({report['disagreement']:.2%}, largest difference {report['largest_difference']:g}),"
        f" {report['failed']} failed, {report['refused']} refused"
    )


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
