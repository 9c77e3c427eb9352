"""What Triton's ModelConfig means here: from its checked fields to a model's description, and remarks on the rest.

Knows fields and settings, not whether the fields were written as JSON or as ``config.pbtxt``, and no runtime but
its name. What can't be done and can be done without is a remark, which says what follows from it; what would make
the model answer otherwise than its configuration says is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.fields import Document, check
from dragoman.repository.spec import Description, Table, read_labels
from dragoman.repository.triton_defaults import fill
from dragoman.repository.triton_fields import MODEL_CONFIG
from dragoman.repository.triton_remarks import Remark, unused
from dragoman.repository.triton_text import parse_text

#: Triton's names of backends and platforms that are called otherwise here.
RUNTIMES: Final = {
    "onnxruntime": "onnx",
    "onnxruntime_onnx": "onnx",
    "pytorch": "torch",
    "pytorch_libtorch": "torch",
}
#: Parameters of Triton's backends that are options of runtimes here: their names and types there.
PARAMETERS: Final[Mapping[str, Mapping[str, tuple[str, type]]]] = {
    "onnx": {
        "intra_op_thread_count": ("intra_op_threads", int),
        "inter_op_thread_count": ("inter_op_threads", int),
    },
    "torch": {"INTRA_OP_THREAD_COUNT": ("threads", int)},
}
#: More than any machine runs; a configuration may come from a client.
MOST_INSTANCES: Final = 1_000
MOST_WARMUPS: Final = 10_000
CONFIG_BYTES: Final = 16 << 20
#: The file of a model of Triton's Python backend, unless its configuration names another.
PYTHON_FILE: Final = "model.py"

#: What a model can't be served without, and why it isn't served.
_REFUSED: Final = {
    "ensemble_scheduling": "ensembles are not served yet",
    "sequence_batching": "sequences of requests are not kept together yet, and the model would mix them up",
    "batch_input": "inputs about a batch's shape are not made yet, and the model needs them",
    "batch_output": "outputs are not cut by a batch's shape yet",
    "model_repository_agents": "files would be loaded without what the agents do to them",
}


@dataclass(frozen=True, slots=True)
class Configured:
    """A model's description with its configuration's words on top."""

    description: Description
    remarks: tuple[Remark, ...] = ()


def parse_config(text: str) -> Document:
    """The fields of a configuration in JSON. Raises ConfigError for what is none."""
    try:
        document = orjson.loads(text.encode())
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise ConfigError(f"the configuration is not JSON: {error}") from None
    return check_config(document)


def check_config(document: Any) -> Document:
    """The same from a document that has been parsed."""
    checked: Document = check(document, MODEL_CONFIG, "config")
    return checked


def read_config(path: Path) -> Document:
    """The fields of a ``config.pbtxt``. Raises ConfigError."""
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise ConfigError(f"{path.name} has more than {CONFIG_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"can't read {path.name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text") from error
    return check_config(parse_text(text, MODEL_CONFIG, path.name))


def configure(config: Document, name: str, base: Description, folder: Path | None = None) -> Configured:
    """The description ``base`` of the model ``name`` with its configuration's words on top.

    Labels and the file's name are looked for in ``folder``. Raises ConfigError for a configuration that is another
    model's, contradicts itself, or asks for what a model can't be served without.
    """
    if config.get("name", "") not in ("", name):
        raise ConfigError(f"the configuration is that of model {config['name']!r}, not of {name!r}")
    for field, reason in _REFUSED.items():
        if config.get(field):
            raise ConfigError(f"{field}: {reason}")
    python = config.get("backend") == "python"
    if config.get("model_transaction_policy", {}).get("decoupled") and not python:
        raise ConfigError(
            "model_transaction_policy: models that answer as often as they like are not served yet"
        )
    remarks = list(unused(config))
    settings = _settings(config, base.settings, remarks)
    batched = config.get("max_batch_size", 0) > 0
    options = {**base.options, **_options(config, settings.runtime, remarks)}
    if batched:
        options.pop("batched", None)
    elif {"max_batch_size", "input", "output"} & config.keys():
        options["batched"] = False
    if python:
        options["config"] = fill(config, name)
    file = _file(config, folder, remarks)
    inputs = _tensors(config, "input", base.inputs, folder, batched, remarks)
    outputs = _tensors(config, "output", base.outputs, folder, batched, remarks)
    description = Description(settings, file or base.file, base.entry, options, inputs, outputs)
    return Configured(description, tuple(remarks))


def _settings(config: Document, base: ModelSettings, remarks: list[Remark]) -> ModelSettings:
    batching = config.get("dynamic_batching", {})
    queue = batching.get("default_queue_policy", {})
    most = config.get("max_batch_size", 0)
    if most < 0:
        raise ConfigError(f"max_batch_size must be 0 or more, got {most}")
    preferred = tuple(batching.get("preferred_batch_size", base.preferred_batch))
    if any(size < 1 or (most and size > most) for size in preferred):
        raise ConfigError(f"preferred_batch_size must be from 1 to max_batch_size, got {list(preferred)}")
    changes: dict[str, Any] = {"preferred_batch": preferred}
    if {"max_batch_size", "input", "output"} & config.keys():
        changes["max_batch"] = most
    if backend := config.get("backend") or config.get("platform"):
        changes["runtime"] = RUNTIMES.get(backend, backend)
    if "max_queue_delay_microseconds" in batching:
        changes["max_delay"] = batching["max_queue_delay_microseconds"] / 1e6
    if queue.get("max_queue_size"):
        changes["queue_size"] = queue["max_queue_size"]
    if "version_policy" in config:
        changes["versions"] = _versions(config["version_policy"])
    if config.get("instance_group"):
        changes["instances"] = _instances(config["instance_group"], remarks)
    if "response_cache" in config:
        changes["response_cache"] = config["response_cache"].get("enable", False)
    if config.get("model_warmup"):
        changes["warmup"] = _warmups(config["model_warmup"], remarks)
    return replace(base, **changes)


def _versions(policy: Document) -> str:
    if "all" in policy:
        return "all"
    if "specific" in policy:
        versions = policy["specific"].get("versions", [])
        if not versions or min(versions) < 1:
            raise ConfigError(f"version_policy.specific must name versions from 1 on, got {versions}")
        return "specific:" + ",".join(map(str, versions))
    return f"latest:{policy.get('latest', {}).get('num_versions', 0) or 1}"


def _instances(groups: list[Document], remarks: list[Remark]) -> int:
    total = 0
    for group in groups:
        count = group.get("count", 0)
        if count < 0:
            raise ConfigError(f"instance_group.count must be 0 or more, got {count}")
        total += 0 if group.get("passive") else count or 1
        if group.get("kind") == "KIND_GPU":
            remarks.append(Remark("instance_group[].kind", "instances run where the runtime does by default"))
    if not 1 <= total <= MOST_INSTANCES:
        raise ConfigError(f"a model has from 1 to {MOST_INSTANCES} instances that answer, got {total}")
    return total


def _warmups(samples: list[Document], remarks: list[Remark]) -> int:
    """How many requests of zeros stand for these. Each sample is asked ``count`` times, at least once."""
    told = [data for sample in samples for data in sample.get("inputs", {}).values()]
    if any("random_data" in data or "input_data_file" in data for data in told):
        remarks.append(Remark("model_warmup[].inputs", "the model is asked with zeros"))
    if any(sample.get("batch_size", 0) > 1 for sample in samples):
        remarks.append(Remark("model_warmup[].batch_size", "the model is asked with one row"))
    total: int = sum(sample.get("count", 0) or 1 for sample in samples)
    if total > MOST_WARMUPS:
        raise ConfigError(f"a model is asked at most {MOST_WARMUPS} times before it answers, got {total}")
    return total


def _options(config: Document, runtime: str, remarks: list[Remark]) -> Table:
    """The runtime's options. A Python class gets all parameters, as ``options["parameters"]``."""
    parameters = {name: said.get("string_value", "") for name, said in config.get("parameters", {}).items()}
    if not parameters:
        return {}
    if runtime in ("", "python"):
        return {"parameters": parameters}
    known = PARAMETERS.get(runtime, {})
    options: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in known:
            remarks.append(Remark(f"parameters.{name}", f"the runtime {runtime!r} has no such option"))
            continue
        option, kind = known[name]
        try:
            options[option] = kind(value)
        except ValueError:
            raise ConfigError(f"parameters.{name} must be a whole number, got {value!r}") from None
    return options


def _file(config: Document, folder: Path | None, remarks: list[Remark]) -> str:
    """The file that the configuration names, if any version has it."""
    name: str = config.get("default_model_filename", "")
    if not name and config.get("backend") == "python" and folder is not None:
        return PYTHON_FILE if any(folder.glob(f"[0-9]*/{PYTHON_FILE}")) else ""
    if not name or folder is None:
        return ""
    if "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise ConfigError(f"default_model_filename must be the name of a file, got {name!r}")
    if (folder / name).exists() or any(folder.glob(f"[0-9]*/{_literally(name)}")):
        return name
    remarks.append(Remark("default_model_filename", "no version has such a file: its only model is taken"))
    return ""


def _literally(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _tensors(
    config: Document,
    kind: str,
    base: tuple[Table, ...],
    folder: Path | None,
    batched: bool,
    remarks: list[Remark],
) -> tuple[Table, ...]:
    if not config.get(kind):
        return base
    before = {table["name"]: table for table in base}
    tables: list[Table] = []
    for said in config[kind]:
        name = said.get("name", "")
        if not name or any(table["name"] == name for table in tables):
            raise ConfigError(f"each {kind} needs a name of its own, got {name!r}")
        if said.get("data_type", "TYPE_INVALID") == "TYPE_INVALID":
            raise ConfigError(f"{kind} {name!r} needs a data_type")
        table: dict[str, Any] = {"name": name, "datatype": _datatype(said["data_type"])}
        table["shape"] = _shape(said, kind, batched, remarks)
        if said.get("optional"):
            table["optional"] = True
        if labels := _labels(said, before.get(name, {}), folder):
            table["labels"] = labels
        tables.append(table)
    return tuple(tables)


def _datatype(name: str) -> str:
    return name.removeprefix("TYPE_").replace("STRING", "BYTES")


def _shape(said: Document, kind: str, batched: bool, remarks: list[Remark]) -> list[int]:
    """The whole shape, as requests have it: Triton's dims lack the rows of a batch."""
    name, dims = said["name"], said.get("dims", [])
    if "reshape" in said:
        dims = said["reshape"].get("shape", [])
        remarks.append(
            Remark(f"{kind}[].reshape", f"{name!r} has the shape that the model itself gives it: {dims}")
        )
    elif not dims and not batched:
        raise ConfigError(f"{kind} {name!r} needs dims")
    if any(size < 1 and size != -1 for size in dims):
        raise ConfigError(f"{kind} {name!r}: dims must be positive, or -1 for any size, got {dims}")
    return [-1, *dims] if batched else list(dims)


def _labels(said: Document, before: Table, folder: Path | None) -> list[str]:
    file: str = said.get("label_filename", "")
    known: list[str] = list(before.get("labels", ()))
    if not file or folder is None or (known and not (folder / file).exists()):
        return known
    return read_labels(folder, file, "label_filename")
