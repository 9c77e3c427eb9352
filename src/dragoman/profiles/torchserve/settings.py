"""TorchServe's configuration as a whole: its file, its environment and its flags in, frozen values out.

Reads that file and the metrics file it names; what a key means is in ``keys``, what a model's own say in ``serving``.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from dragoman.config import LimitSettings, LogSettings, ModelSettings, ServerSettings, Settings, suggest
from dragoman.errors import ConfigError
from dragoman.profiles.torchserve import properties
from dragoman.profiles.torchserve.address import Address, parse_address
from dragoman.profiles.torchserve.keys import BY_NAME, KEYS, variable
from dragoman.profiles.torchserve.metrics_file import DEFAULT, MetricsFile, read_metrics_file
from dragoman.profiles.torchserve.values import Network, Values, truth
from dragoman.profiles.use import Use

DEFAULT_FILE: Final = "config.properties"
LOG_FOLDER: Final = "logs"
SNAPSHOTS: Final = "config"  # in the folder of logs
ENVELOPES: Final = ("", "body", "json", "kserve", "kservev2")
_SEQUENCE_KEYS: Final = tuple(f"ts_header_key_sequence_{part}" for part in ("id", "start", "end"))
DEFAULT_SEQUENCE_HEADERS: Final = tuple(BY_NAME[key].default for key in _SEQUENCE_KEYS)
METRICS_MODES: Final = ("log", "prometheus", "legacy")

#: What a configuration says of one version of a model: TorchServe's names, as in ``{"minWorkers": 1}``.
Table = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Table]]


@dataclass(frozen=True, slots=True)
class GrpcAddress:
    """Where gRPC is listened for; ages are in seconds, where 0 is no limit. Equal addresses share a listener."""

    host: str
    port: int
    tls: bool = False
    age: float = 0.0
    age_grace: float = 0.0


class Missing(ConfigError):
    """Something that was named, or should have been, isn't there. The text is TorchServe's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What was typed after ``torchserve``. ``None`` and false were not given."""

    ts_config: str | None = None
    model_store: str | None = None
    workflow_store: str | None = None
    models: tuple[str, ...] | None = None
    no_config_snapshots: bool = False
    disable_token_auth: bool = False
    enable_model_api: bool = False
    cpp_log_config: str | None = None
    plugins_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A whole configuration. ``load_models`` are (name or "", location); times are in seconds.

    ``models`` are the tables of the key ``models``, or of a snapshot, by model and version. ``warnings`` are for
    the operator's eyes: what was not understood, or can't be done; ``notes`` are keys without meaning here.
    """

    inference: Address
    management: Address
    metrics: Address | None
    grpc_inference: GrpcAddress
    grpc_management: GrpcAddress
    certificate: str = ""
    private_key: str = ""
    cors: tuple[tuple[str, str], ...] = ()
    max_request_size: int
    model_store: Path
    workflow_store: Path
    load_models: tuple[tuple[str, str], ...] = ()
    models: Tables = field(default_factory=dict)
    default_workers: int  #: as configured; 0 is automatic
    workers: int  #: of a model at the start that says nothing itself
    queue_size: int
    response_timeout: int
    startup_timeout: int
    unregister_timeout: int
    handler: str = ""
    envelope: str = ""
    decode_input: bool = True
    limit_max_image_pixels: bool = True
    install_requirements: bool = False
    hidden_variables: re.Pattern[str] | None = None
    open_inference: bool = False
    sequence_headers: tuple[str, ...]  #: of a sequence's id, start and end
    token_auth: bool
    token_minutes: float
    model_api: bool
    allowed_urls: tuple[re.Pattern[str], ...]
    allowed_networks: tuple[Network, ...] = ()  #: that models may be fetched from, though they are not public
    metrics_mode: str
    declared_metrics: MetricsFile = DEFAULT
    detect_metrics: bool
    metrics_interval: int  #: between two looks at the host, for the log
    metrics_folder: Path  #: of the logs of metrics
    system_metrics: bool
    snapshots: bool = True  #: whether changes are written down
    snapshot_folder: Path
    from_snapshot: bool = False  #: ``models`` are those of a snapshot, which say all there is to say
    properties: Mapping[str, str] = field(default_factory=dict)  #: the same as texts, for the next snapshot
    file: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """The same in Dragoman's words, as far as these have a word for it."""
        return Settings(
            server=ServerSettings(
                host=self.inference.host or "127.0.0.1",
                port=self.inference.port,
                grace=float(self.unregister_timeout),
                tls_cert=self.certificate if self.inference.tls else "",
                tls_key=self.private_key if self.inference.tls else "",
            ),
            limits=LimitSettings(body_bytes=self.max_request_size),
            log=LogSettings(),
            models=ModelSettings(
                runtime="torchserve",
                instances=self.workers,
                queue_size=self.queue_size,
                response_timeout=float(self.response_timeout),
                install_requirements=self.install_requirements,
            ),
        )


def load(line: CommandLine, environ: Mapping[str, str], directory: Path) -> Configuration:
    """Everything the operator said. ``directory`` is where TorchServe would have been started.

    The environment wins over the command line, which wins over the file. Raises ConfigError.
    """
    file = find_file(line, environ, directory)
    values = {} if file is None else properties.expand(properties.parse(read_text(file)), environ)
    values |= _from_command_line(line)
    if truth(values.get("enable_envvars_config", "false")):
        values |= _from_environment(environ, truth(values.get("use_env_allowed_urls", "false")))
    if environ.get("TS_OPEN_INFERENCE_PROTOCOL") == "oip":
        values["ts_open_inference_protocol"] = "true"
    configuration = read(values, directory, file="" if file is None else str(file))
    return replace(
        configuration,
        metrics_folder=directory / environ.get("METRICS_LOCATION", LOG_FOLDER),
        snapshots=not line.no_config_snapshots,
        snapshot_folder=directory / environ.get("LOG_LOCATION", LOG_FOLDER) / SNAPSHOTS,
    )


def find_file(line: CommandLine, environ: Mapping[str, str], directory: Path) -> Path | None:
    """The configuration file: named, or the newest snapshot, or ``config.properties``. Raises ConfigError."""
    named = environ.get("TS_CONFIG_FILE") or line.ts_config
    if named is not None:
        if not (directory / named).is_file():
            raise Missing(f"--ts-config file not found: {named}")
        return directory / named
    snapshots = directory / environ.get("LOG_LOCATION", LOG_FOLDER) / SNAPSHOTS
    if not line.no_config_snapshots and snapshots.is_dir():
        # Their names begin with the time they were written at.
        found = sorted(snapshots.glob("*.cfg"), key=lambda snapshot: snapshot.name)
        if found:
            return found[-1]
    default = directory / DEFAULT_FILE
    return default if default.is_file() else None


def read_text(file: Path) -> str:
    """A properties file's text. It is Latin-1 by Java's rules; people write UTF-8, which is tried first."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"can't read {file}: {error.strerror}") from error
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read(values: Mapping[str, str], directory: Path, file: str = "") -> Configuration:
    """The values of all keys together. Raises ConfigError for what the key can't be."""
    of = Values(values)
    warnings, notes = _remarks(values)
    warnings += of.warnings
    store = _model_store(of, directory)
    workflows = of.text("workflow_store")
    inference = parse_address(of.text("inference_address"), "inference_address", (80, 443))
    management = parse_address(of.text("management_address"), "management_address", (8081, 8444))
    metrics = parse_address(of.text("metrics_address"), "metrics_address", (8082, 8445))
    certificate, key = of.path("certificate_file", directory), of.path("private_key_file", directory)
    grpc = [_grpc_address(of, name) for name in ("inference", "management")]
    secured = [each.tls for each in (inference, management, metrics)] + [each.tls for each in grpc]
    if any(secured) and not (certificate and key):
        hint = "a keystore is turned into them by: openssl pkcs12 -in keystore.p12 -nodes -out both.pem"
        raise ConfigError("TLS needs certificate_file and private_key_file", hint=hint)
    token_auth = not of.boolean("disable_token_authorization")
    if not token_auth:
        warnings += _open_doors(inference, management, *grpc)
    metrics_file = of.path("metrics_config", directory)
    declared_metrics = read_metrics_file(Path(metrics_file)) if metrics_file else DEFAULT
    warnings += declared_metrics.warnings
    if of.boolean("enable_model_api") and of.text("allowed_urls") == BY_NAME["allowed_urls"].default:
        warnings.append(
            "requests may register models, which are programs, from any host and file: set allowed_urls"
        )
    snapshot = _tables(of.table("model_snapshot").get("models"))
    return Configuration(
        inference=inference,
        management=management,
        metrics=metrics if of.boolean("enable_metrics_api") else None,
        grpc_inference=grpc[0],
        grpc_management=grpc[1],
        certificate=certificate,
        private_key=key,
        cors=_cors(of),
        max_request_size=of.integer("max_request_size"),
        model_store=store,
        workflow_store=directory / workflows if workflows else store,
        load_models=_from_snapshot(snapshot) or parse_models(of.text("load_models")),
        models=snapshot or _tables(of.table("models")),
        default_workers=of.integer("default_workers_per_model"),
        workers=_workers(of),
        queue_size=of.integer("job_queue_size", least=1),
        response_timeout=of.integer("default_response_timeout"),
        startup_timeout=of.integer("default_startup_timeout"),
        unregister_timeout=of.integer("unregister_model_timeout"),
        handler=of.text("default_service_handler"),
        envelope=of.choice("service_envelope", ENVELOPES),
        decode_input=of.boolean("decode_input_request"),
        limit_max_image_pixels=of.boolean("limit_max_image_pixels"),
        install_requirements=of.boolean("install_py_dep_per_model"),
        hidden_variables=of.pattern("blacklist_env_vars"),
        open_inference=of.boolean("ts_open_inference_protocol"),
        sequence_headers=_sequence_headers(of),
        token_auth=token_auth,
        token_minutes=of.number("token_expiration_min"),
        model_api=of.boolean("enable_model_api"),
        allowed_urls=of.patterns("allowed_urls"),
        allowed_networks=of.networks("allowed_networks"),
        metrics_mode=of.choice("metrics_mode", METRICS_MODES),
        declared_metrics=declared_metrics,
        detect_metrics=of.boolean("model_metrics_auto_detect"),
        metrics_interval=of.integer("metric_time_interval"),
        metrics_folder=directory / LOG_FOLDER,
        system_metrics=not of.boolean("disable_system_metrics"),
        snapshot_folder=directory / LOG_FOLDER / SNAPSHOTS,
        from_snapshot=bool(snapshot),
        properties={name: value for name, value in values.items() if name != "model_snapshot"},
        file=file,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def parse_models(text: str) -> tuple[tuple[str, str], ...]:
    """``[name=]location,...`` as pairs; ``all`` is a location like the others here."""
    pairs = []
    for item in text.split(","):
        name, equals, location = item.strip().partition("=")
        if not equals or "://" in name:  # a URL's query has an equals sign of its own
            name, location = "", item.strip()
        if location:
            pairs.append((name, location))
    return tuple(pairs)


def _model_store(of: Values, directory: Path) -> Path:
    if not of.text("model_store"):
        raise Missing("Missing mandatory parameter --model-store")
    store = directory / of.text("model_store")
    if not store.is_dir():
        raise Missing(f"--model-store directory not found: {of.text('model_store')}")
    return store


def _workers(of: Values) -> int:
    if of.boolean("debug"):
        return 1
    return of.integer("default_workers_per_model") or of.integer("number_of_gpu", 0) or _cores()


def _from_command_line(line: CommandLine) -> dict[str, str]:
    values = {
        "model_store": line.model_store,
        "workflow_store": line.workflow_store,
        "load_models": None if line.models is None else ",".join(line.models),
        "disable_token_authorization": "true" if line.disable_token_auth else None,
        "enable_model_api": "true" if line.enable_model_api else None,
        "cpp_log_config": line.cpp_log_config,
        "plugins_path": line.plugins_path,
    }
    return {name: value for name, value in values.items() if value is not None}


def _from_environment(environ: Mapping[str, str], urls: bool) -> dict[str, str]:
    names = [key.name for key in KEYS if urls or not key.name.startswith("allowed_")]
    return {name: environ[variable(name)] for name in names if variable(name) in environ}


def _remarks(values: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Warnings and notes about keys that are there."""
    warnings, notes = [], []
    for name, value in values.items():
        key = BY_NAME.get(name)
        if key is None:
            near = suggest(name, BY_NAME)
            warnings.append(f"unknown key {name!r} is ignored" + (f": {near}" if near.endswith("?") else ""))
        elif key.use is Use.LATER and value.strip() != key.default:
            warnings.append(f"{name} has no effect: {key.meaning}")
        elif key.use is Use.NOTHING:
            notes.append(f"{name} has no meaning here: {key.meaning}")
    return warnings, notes


def _grpc_address(of: Values, name: str) -> GrpcAddress:
    port = of.integer(f"grpc_{name}_port")
    if port > 65_535:
        raise ConfigError(f"grpc_{name}_port must be a port, got {port}")
    age, grace = (of.integer(f"grpc_{name}_max_connection_age{kind}_ms", 0) / 1000 for kind in ("", "_grace"))
    return GrpcAddress(of.text(f"grpc_{name}_address"), port, of.boolean("enable_grpc_ssl"), age, grace)


def _open_doors(
    inference: Address, management: Address, grpc_inference: GrpcAddress, grpc_management: GrpcAddress
) -> list[str]:
    addresses = {
        "inference_address": (inference, str(inference)),
        "management_address": (management, str(management)),
        "grpc_inference_address": (Address(grpc_inference.host), grpc_inference.host),
        "grpc_management_address": (Address(grpc_management.host), grpc_management.host),
    }
    return [
        f"{name} {shown} is open to other machines, and nobody is asked for a key"
        for name, (address, shown) in addresses.items()
        if not address.local
    ]


def _cors(of: Values) -> tuple[tuple[str, str], ...]:
    names = ("origin", "methods", "headers")
    return tuple(
        (f"access-control-allow-{name}", text) for name in names if (text := of.text(f"cors_allowed_{name}"))
    )


def _sequence_headers(of: Values) -> tuple[str, ...]:
    names = tuple(of.header(key) for key in _SEQUENCE_KEYS)
    if len({name.lower() for name in names}) < len(names):
        raise ConfigError(f"{', '.join(_SEQUENCE_KEYS)} must differ, got {', '.join(names)}")
    return names


def _from_snapshot(snapshot: Tables) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, str(table.get("marName") or f"{name}.mar"))
        for name, versions in snapshot.items()
        for table in versions.values()
    )


def _tables(models: Any) -> Tables:
    """What has the form of ``{model: {version: {...}}}``; the rest says nothing."""
    if not isinstance(models, dict):
        return {}
    return {
        str(name): {str(version): table for version, table in versions.items() if isinstance(table, dict)}
        for name, versions in models.items()
        if isinstance(versions, dict)
    }


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
