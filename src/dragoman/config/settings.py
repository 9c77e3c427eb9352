"""Every setting, its default and its unit, in one place. Knows nothing of files or environment."""

from dataclasses import dataclass, field
from typing import Any


def setting(
    default: Any,
    text: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """A field of a section: ``text`` is one line for people and names the unit.

    ``unit`` is "bytes" or "seconds" where a text such as "64MiB" or "500ms" is welcome too. ``least`` and
    ``most`` are inclusive, and meant for each item where the setting is a list. A ``secret`` is never shown.
    """
    metadata = {
        "help": text, "unit": unit, "least": least, "most": most, "choices": choices, "secret": secret
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the server listens and how it stops."""

    host: str = setting("127.0.0.1", "address to listen on; only this machine can reach the default")
    port: int = setting(8080, "TCP port of every REST dialect; 0 picks a free one", least=0, most=65_535)
    grpc: bool = setting(True, "serve gRPC, if the extra grpc is installed")
    grpc_port: int | None = setting(
        None,
        "TCP port of every gRPC service; 0 picks a free one; unset takes the next after port: 8081",
        least=0,
        most=65_535,
    )
    memory_budget: int = setting(
        0,
        "bytes that the processes of models may have in all: those with instances = 0 sleep, the one that was asked"
        " longest ago first; 0 is no limit",
        unit="bytes",
        least=0,
    )
    control: str = setting(
        "none",
        "what changes the loaded models: none (what was found at the start stays), poll (what lies in the folders), or"
        " explicit (clients, through the repository API; at the start load_model)",
        choices=("none", "poll", "explicit"),
    )
    poll_interval: float = setting(
        15.0,
        "seconds between two looks at the folders where control is poll; a change counts when it is that old",
        unit="seconds",
        least=0.1,
    )
    load_model: tuple[str, ...] = setting(
        (), "models to load at the start where control is explicit; * alone is all of them"
    )
    trust_uploads: bool = setting(
        False, "let models that clients send with a request to load them run code: Python classes, pickles"
    )
    client_shm: bool = setting(
        False,
        "let clients on this machine register their shared memory, and read inputs and write outputs there: whatever"
        " lies in /dev/shm that the server's user may write to",
    )
    processes: int = setting(1, "server processes that share the port", least=1)
    grace: float = setting(
        30.0, "seconds that accepted requests have to finish after SIGTERM", unit="seconds", least=0
    )
    compression: str = setting(
        "medium",
        "how hard REST answers are compressed, for clients that take it",
        choices=("none", "low", "medium", "high"),
    )
    tls_cert: str = setting("", "PEM file of the certificate chain; empty serves plain HTTP")
    tls_key: str = setting("", "PEM file of the certificate's key")
    restrict: str = setting(
        "",
        "operations that need a header, as in 'statistics,model-config:admin-key=secret'; with semicolons between",
        secret=True,
    )
    tls_client_ca: str = setting(
        "", "PEM file of authorities: clients must show a certificate that is signed by one of them"
    )

    @property
    def grpc_listens(self) -> int:
        """The port to listen on for gRPC: beside a free one another free one."""
        if self.grpc_port is not None:
            return self.grpc_port
        return self.port + 1 if 0 < self.port < 65_535 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What one client may ask of the server before it is refused."""

    requests: int = setting(
        1024, "requests in work at once; more are answered 503 before their body is read", least=1
    )
    connections: int = setting(10_000, "open connections; more are closed at once", least=1)
    header_bytes: int = setting(
        65_536, "bytes of request line and headers; more is answered 431", unit="bytes", least=256
    )
    header_count: int = setting(100, "header lines; more is answered 431", least=1)
    header_timeout: float = setting(
        10.0, "seconds for a request's head to arrive", unit="seconds", least=0.001
    )
    body_bytes: int = setting(
        67_108_864, "bytes of a body, also after inflation; more is answered 413", unit="bytes", least=0
    )
    body_rate: int = setting(
        500, "bytes a second a body must keep up, measured over header_timeout", unit="bytes", least=0
    )
    chunks: int = setting(65_536, "chunks of a chunked body; more is answered 413", least=1)
    json_depth: int = setting(100, "levels of nesting in a JSON body", least=1)
    idle_timeout: float = setting(
        75.0, "seconds a kept-alive connection may stay silent", unit="seconds", least=0
    )
    write_timeout: float = setting(
        30.0, "seconds a client may stall while it is being answered", unit="seconds", least=0.001
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcSettings:
    """What is gRPC's own: streams, pings, compression."""

    streams: int = setting(
        1000, "calls at once on one connection; more wait at the client, or are refused", least=1
    )
    compression: str = setting(
        "none",
        "how hard gRPC answers are compressed, for clients that take it",
        choices=("none", "low", "medium", "high"),
    )
    keepalive_time: float = setting(
        7200.0, "seconds of silence after which the server pings a client", unit="seconds", least=0.001
    )
    keepalive_timeout: float = setting(
        20.0, "seconds that a client has to answer a ping", unit="seconds", least=0.001
    )
    keepalive_without_calls: bool = setting(False, "ping clients that have no calls open, too")
    max_pings_without_data: int = setting(
        2, "pings that the server sends in a row with nothing else; 0 is no limit", least=0
    )
    min_ping_interval: float = setting(
        300.0, "seconds that a client without calls has to wait between pings", unit="seconds", least=0
    )
    max_ping_strikes: int = setting(
        2, "pings too early after which a client is sent away; 0 sends nobody away", least=0
    )
    connection_age: float = setting(
        0.0, "seconds after which a connection is asked to go; 0 is no limit", unit="seconds", least=0
    )
    connection_age_grace: float = setting(
        0.0, "seconds that its calls have then; 0 is no limit", unit="seconds", least=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is written to standard error."""

    level: str = setting(
        "info", "debug, info, warning or error", choices=("debug", "info", "warning", "error")
    )
    format: str = setting(
        "auto",
        "console, json, or auto: console on a terminal and json otherwise",
        choices=("auto", "console", "json"),
    )
    access: bool = setting(False, "one line for each request")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """How one model is served: ``[models]`` gives the defaults, a ``model.toml`` beside a model its own."""

    runtime: str = setting("", "the runtime's name; empty guesses from the files")
    max_batch: int = setting(
        0, "most rows of one batch, and of one request; 0 leaves it to the runtime", least=0
    )
    max_delay: float = setting(
        0.0,
        "seconds a request may wait for company while an instance is free",
        unit="seconds",
        least=0,
    )
    preferred_batch: tuple[int, ...] = setting(
        (), "batch sizes, in rows, to send at once when they are reached", least=1
    )
    instances: int = setting(
        1, "loaded copies of the model, at least; 0 loads it when it is asked for", least=0
    )
    max_instances: int = setting(
        0, "loaded copies at most: between the two it follows the load; 0 is no more than instances", least=0
    )
    target_delay: float = setting(
        0.1,
        "seconds requests may wait before there is another copy, up to max_instances",
        unit="seconds",
        least=0.001,
    )
    idle_timeout: float = setting(
        60.0,
        "seconds with too little to do after which a copy beyond instances goes",
        unit="seconds",
        least=0.1,
    )
    wake_timeout: float = setting(
        60.0,
        "seconds a request may wait for the first copy of a model that has none; 0 refuses it at once",
        unit="seconds",
        least=0,
    )
    warmup: int = setting(
        0, "requests of zeros that a version answers before it takes the place of another", least=0
    )
    queue_size: int = setting(
        100, "requests that may wait; more are answered 503, with 0 all that no instance is free for", least=0
    )
    timeout: float = setting(
        0.0, "seconds a request may take, its wait included; 0 is no limit", unit="seconds", least=0
    )
    versions: str = setting("latest", "versions to load: latest, latest:N, all, or specific:1,3")
    execution: str = setting(
        "auto",
        "where it runs: inline (on the event loop, for microseconds' work), thread, process, ray (as replicas in a Ray"
        " cluster, one an instance), or auto: users' code in processes unless declared fast, libraries' on threads",
        choices=("auto", "inline", "thread", "process", "ray"),
    )
    max_ongoing: int = setting(
        2,
        "batches that a replica in a Ray cluster may have at once, all but one of them on their way",
        least=1,
    )
    replica_cpus: float = setting(1.0, "CPUs that Ray sets aside for a replica", least=0)
    replica_gpus: float = setting(
        0.0, "GPUs that Ray sets aside for a replica; parts of one are possible", least=0
    )
    response_timeout: float = setting(
        0.0,
        "seconds an execution may take before its process is replaced; 0 is no limit",
        unit="seconds",
        least=0,
    )
    load_timeout: float = setting(
        0.0, "seconds a process may take to load its model; 0 is no limit", unit="seconds", least=0
    )
    install_requirements: bool = setting(
        False, "install the requirements.txt of an archive into an environment of its own, built once"
    )
    sequences: int = setting(
        0,
        "most sequences at once of a model that remembers: each stays with one instance, a batch has one request of"
        " each, up to max_batch; 0 is a model without sequences",
        least=0,
    )
    sequence_queue: int = setting(1, "requests of one sequence that may wait; more are answered 503", least=1)
    sequence_idle: float = setting(
        0.0, "seconds without a request after which a sequence ends; 0 is no limit", unit="seconds", least=0
    )
    sequence_timeout: float = setting(
        0.0, "seconds that a sequence may last; 0 is no limit", unit="seconds", least=0
    )
    response_cache: bool = setting(
        False, "answer equal requests from the cache instead of running the model again"
    )
    stored_predictions: bool = setting(
        True, "answer from predictions.store what was predicted ahead, where there is such a store"
    )
    max_requests: int = setting(0, "requests after which a process is replaced; 0 is no limit", least=0)
    max_rss: int = setting(
        0, "bytes of memory in use after which a process is replaced; 0 is no limit", unit="bytes", least=0
    )
    max_memory: int = setting(
        0, "bytes of data a process may allocate before it ends; 0 is no limit", unit="bytes", least=0
    )
    max_processes: int = setting(
        512,
        "processes of one worker at once, itself included; when there are more, all of them are ended; 0 is no limit",
        least=0,
    )
    max_output: int = setting(
        2_147_483_648,
        "bytes of one answer from a process; more is an invalid output",
        unit="bytes",
        least=1,
        most=2_147_483_648,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementSettings:
    """Who may change models while the server serves, and where new ones come from."""

    enabled: str = setting(
        "auto",
        "whether there is a management API: on, off, or auto: where only this machine can reach it, or where"
        " management.key is set",
        choices=("auto", "on", "off"),
    )
    key: str = setting(
        "", "secret that calls bring as 'Authorization: Bearer ...'; empty asks for none", secret=True
    )
    store: str = setting(
        "",
        "folder whose models can be loaded by name, and where fetched ones are kept; empty loads nothing new",
    )
    allowed_urls: str = setting(
        "", "regular expressions, with commas between, of the URLs that models may be fetched from"
    )
    allowed_networks: tuple[str, ...] = setting(
        (), "networks, such as 10.1.0.0/16, that models may be fetched from although they are not public"
    )
    state: str = setting(
        "",
        "SQLite file, or URL of a database, that keeps what models should be served across restarts; empty keeps"
        " nothing",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISettings:
    """OpenAI's API, for models that speak it."""

    prefix: str = setting(
        "/openai",
        "path in front of /v1 where it is, as KServe has it; empty is none, without a list of models",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSettings:
    """Whether what clients send and are answered is kept elsewhere, and where."""

    url: str = setting("", "URL of a collector, which gets them as CloudEvents; empty sends none")
    file: str = setting(
        "", "file to which they are added, as CloudEvents in lines of JSON; empty writes none"
    )
    mode: str = setting(
        "all", "what is kept: all, request or response", choices=("all", "request", "response")
    )
    sample: float = setting(1.0, "share of the requests that are kept with their answers", least=0, most=1)
    buffer: int = setting(
        67_108_864,
        "bytes that may wait to be written; what is more is dropped, and counted",
        unit="bytes",
        least=0,
    )
    source: str = setting("dragoman", "who the events are from: a URI")
    service: str = setting("", "inferenceservicename of the events")
    namespace: str = setting("", "namespace of the events")
    component: str = setting("", "component of the events, as predictor or transformer")
    endpoint: str = setting("", "endpoint of the events, as default or canary")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Where answers of models with ``response_cache`` are kept."""

    size: int = setting(
        67_108_864,
        "bytes of answers that this process keeps in memory, the least recently used go first; 0 keeps none",
        unit="bytes",
        least=0,
    )
    ttl: float = setting(
        0.0, "seconds that an answer is kept; 0 is until there is no room", unit="seconds", least=0
    )
    redis: str = setting(
        "",
        "URL of a Redis server, such as redis://host:6379/0, that keeps answers for several servers; empty asks none",
        secret=True,
    )
    redis_prefix: str = setting(
        "dragoman", "what keys in Redis begin with; another one leaves all kept answers behind"
    )
    redis_timeout: float = setting(
        0.1, "seconds to wait for Redis before the model is asked", unit="seconds", least=0.001
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """Predictions made ahead, and where they lie."""

    store: str = setting(
        "",
        "SQLite file, or URL of a database, with predictions that were made ahead; empty looks nothing up",
        secret=True,
    )
    ttl: float = setting(
        0.0,
        "seconds after which a stored prediction is too old to be an answer; 0 is never",
        unit="seconds",
        least=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """Requests that are answered later: accepted, kept, run when there is time."""

    store: str = setting(
        "",
        "SQLite file, or URL of a database, that keeps jobs and their results; empty takes none",
        secret=True,
    )
    concurrency: int = setting(4, "jobs that one process runs at once", least=1)
    waiting: int = setting(10_000, "jobs that may wait; more are answered 503", least=1)
    attempts: int = setting(
        5,
        "times a job is begun before it has failed: after crashes, and while its model can't answer",
        least=1,
    )
    timeout: float = setting(
        3600.0,
        "seconds one run of a job may take before it has failed; 0 is no limit",
        unit="seconds",
        least=0,
    )
    lease: float = setting(
        15.0,
        "seconds after which a job whose process says nothing is taken over by another",
        unit="seconds",
        least=0.5,
    )
    retention: float = setting(
        86_400.0, "seconds that a job that has ended and its result are kept", unit="seconds", least=1
    )
    folder: str = setting(
        "", "folder with files that jobs may name instead of sending them; empty allows none"
    )
    rows: int = setting(64, "rows of a file that are asked at once, if its model takes as many", least=1)
    webhook_urls: str = setting(
        "",
        "regular expressions, with commas between, of the URLs that may be told of a job's end; empty allows none",
    )
    webhook_networks: tuple[str, ...] = setting(
        (), "networks, such as 10.1.0.0/16, that may be told although they are not public"
    )
    webhook_secret: str = setting(
        "",
        "secret that webhooks are signed with, as whsec_ and base64; needed where there are webhook_urls",
        secret=True,
    )
    webhook_attempts: int = setting(8, "times that telling of a job's end is tried", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Who may ask the server for what."""

    mode: str = setting(
        "auto",
        "whether callers need a key: on, off, or auto: where others than this machine can reach the server, unless"
        " they need certificates (tls_client_ca), and wherever auth.key or auth.store is set",
        choices=("auto", "on", "off"),
    )
    key: str = setting(
        "",
        "a key that may do everything, of at least 16 characters; where there is neither this nor any other, one is"
        " made at the start and shown once",
        secret=True,
    )
    store: str = setting(
        "",
        "SQLite file, or URL of a database, that keeps users, keys and the audit; empty takes management.state, and"
        " keeps nothing where that is empty, too",
    )
    access_lifetime: float = setting(
        900.0, "seconds that the access token of a login is good for", unit="seconds", least=1
    )
    refresh_lifetime: float = setting(
        604_800.0, "seconds that a login can be renewed without a password", unit="seconds", least=1
    )
    signing_lifetime: float = setting(
        2_592_000.0,
        "seconds after which access tokens are signed with a new key; 0 changes it only when told to",
        unit="seconds",
        least=0,
    )
    audit_retention: float = setting(
        7_776_000.0,
        "seconds that lines of the audit are kept; 0 keeps them for ever",
        unit="seconds",
        least=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSettings:
    """Which predictions are kept to be looked at, and what they are compared with."""

    store: str = setting(
        "",
        "SQLite file, or URL of a database, that keeps what models were asked and have answered; empty keeps none",
        secret=True,
    )
    sample: float = setting(
        1.0, "share of the requests that are kept, and looked at for drift", least=0, most=1
    )
    retention: float = setting(
        604_800.0, "seconds that predictions are kept; 0 is no limit", unit="seconds", least=0
    )
    rows: int = setting(100_000, "predictions that are kept, the oldest go first; 0 is no limit", least=0)
    entry_bytes: int = setting(
        16_384,
        "bytes of a request, and of an answer, that are kept; tensors that are bigger are cut short",
        unit="bytes",
        least=256,
    )
    redact: tuple[str, ...] = setting(
        (), "names of inputs, outputs, parameters and JSON keys whose values are never kept"
    )
    waiting: int = setting(
        10_000, "predictions that may wait to be written; what is more is dropped, and counted", least=1
    )
    window: float = setting(3600.0, "seconds that drift and live accuracy look back", unit="seconds", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """Whether the way of requests is told to a collector of OpenTelemetry's, and of which."""

    endpoint: str = setting(
        "",
        "URL that takes OTLP over HTTP, such as http://localhost:4318/v1/traces; empty traces nothing",
    )
    sample: float = setting(
        1.0, "share of the requests that are traced, of those whose client doesn't say", least=0, most=1
    )
    service: str = setting("dragoman", "what the server is called in traces")
    server_timing: bool = setting(
        True, "tell clients that ask for it, with X-Server-Timing: 1, where their time went"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a server is told."""

    server: ServerSettings = field(default_factory=ServerSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    grpc: GrpcSettings = field(default_factory=GrpcSettings)
    log: LogSettings = field(default_factory=LogSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    management: ManagementSettings = field(default_factory=ManagementSettings)
    openai: OpenAISettings = field(default_factory=OpenAISettings)
    payloads: PayloadSettings = field(default_factory=PayloadSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    predictions: PredictionSettings = field(default_factory=PredictionSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
