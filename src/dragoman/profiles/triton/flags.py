"""Every flag of tritonserver 2.51, the later ones that count here, and what each means: the one table. Reads nothing.

The docs show this table, and a test compares the two.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from dragoman.profiles.use import Use


class Flag(NamedTuple):
    """``kind`` is what the flag takes; "" is nothing. A flag whose ``default`` is given has said nothing new.

    ``many`` flags may be given again and again; of the others the last counts.
    """

    name: str
    kind: str
    default: str
    use: Use
    meaning: str
    many: bool = False

    @property
    def spelling(self) -> str:
        return f"--{self.name}"


_YES, _LATER, _NO = Use.HONOURED, Use.LATER, Use.NOTHING
_BOOL, _INT, _TEXT, _FLOAT = "bool", "int", "text", "float"
_ONE_LOOP: Final = "one event loop carries every connection"
_NO_GPU: Final = "memory of GPUs is the runtimes' own affair"
_TRACE: Final = "requests are not traced"
_NO_PORT: Final = "its paths are on the main port of `dragoman serve`"

FLAGS: Final = (
    # The server.
    Flag("id", _TEXT, "triton", _LATER, "the server calls itself dragoman"),
    Flag("exit-timeout-secs", _INT, "30", _YES, "seconds that accepted requests have after SIGTERM"),
    Flag("log-verbose", _INT, "0", _YES, "from 1 on the log tells everything"),
    Flag("log-info", _BOOL, "true", _YES, "`false` leaves warnings and errors"),
    Flag("log-warning", _BOOL, "true", _YES, "`false` leaves errors, if there is no info either"),
    Flag("log-error", _BOOL, "true", _LATER, "errors are always told"),
    Flag("log-format", _TEXT, "default", _NO, "lines are JSON, or for people on a terminal"),
    Flag("log-file", _TEXT, "", _LATER, "the log goes to standard error"),
    # Models.
    Flag("model-repository", _TEXT, "", _YES, "a folder of models; may be given several times", many=True),
    Flag("model-store", _TEXT, "", _YES, "the same", many=True),
    Flag("exit-on-error", _BOOL, "true", _YES, "stop if a model fails to load"),
    Flag("disable-auto-complete-config", "", "", _NO, "what a configuration leaves out is completed"),
    Flag("strict-model-config", _BOOL, "false", _NO, "what a configuration leaves out is completed"),
    Flag("strict-readiness", _BOOL, "true", _LATER, "the server is ready when all models are"),
    Flag("model-control-mode", _TEXT, "none", _YES,
         "`none` loads all models, `poll` follows the repositories, `explicit` loads those of `--load-model` and what"
         " clients ask for"),
    Flag("repository-poll-secs", _INT, "15", _YES, "seconds between two looks in mode `poll`"),
    Flag("load-model", _TEXT, "", _YES, "a model to load in mode `explicit`, or `*`", many=True),
    Flag("model-config-name", _TEXT, "", _LATER, "models have one configuration"),
    Flag("model-load-thread-count", _INT, "4", _NO, "models load side by side"),
    Flag("model-load-retry-count", _INT, "0", _LATER, "a load is tried once"),
    Flag("model-namespacing", _BOOL, "false", _LATER, "names are the server's"),
    Flag("model-load-gpu-limit", _TEXT, "", _LATER, _NO_GPU, many=True),
    Flag("enable-peer-access", _BOOL, "true", _NO, _NO_GPU),
    # REST.
    Flag("allow-http", _BOOL, "true", _YES, "`false` does not open the REST port"),
    Flag("http-address", _TEXT, "127.0.0.1", _YES, "where it listens: `0.0.0.0` is everywhere"),
    Flag("http-port", _INT, "8000", _YES, "its port; 0 is a free one"),
    Flag("reuse-http-port", _BOOL, "false", _YES, "let several servers share it"),
    Flag("http-max-input-size", _INT, "67108864", _YES, "bytes of a body, and of a gRPC message"),
    Flag("http-header-forward-pattern", _TEXT, "", _LATER, "headers are no parameters"),
    Flag("http-thread-count", _INT, "8", _NO, _ONE_LOOP),
    Flag("http-restricted-api", _TEXT, "", _YES, "`apis:header=value`: these need that header", many=True),
    # gRPC.
    Flag("allow-grpc", _BOOL, "true", _YES, "`false` does not open the gRPC port"),
    Flag("grpc-address", _TEXT, "127.0.0.1", _YES, "where it listens"),
    Flag("grpc-port", _INT, "8001", _YES, "its port; 0 is a free one"),
    Flag("reuse-grpc-port", _BOOL, "false", _YES, "let several servers share it"),
    Flag("grpc-header-forward-pattern", _TEXT, "", _LATER, "metadata are no parameters"),
    Flag("grpc-infer-allocation-pool-size", _INT, "8", _NO, "nothing is kept for reuse"),
    Flag("grpc-max-response-pool-size", _INT, "", _NO, "nothing is kept for reuse"),
    Flag("grpc-infer-thread-count", _INT, "2", _NO, _ONE_LOOP),
    Flag("grpc-use-ssl", _BOOL, "false", _YES, "take the next two files for TLS"),
    Flag("grpc-use-ssl-mutual", _BOOL, "false", _YES, "ask clients for certificates, too"),
    Flag("grpc-server-cert", _TEXT, "", _YES, "PEM file of the certificate chain; a renewed one needs no restart"),
    Flag("grpc-server-key", _TEXT, "", _YES, "PEM file of its key"),
    Flag("grpc-root-cert", _TEXT, "", _YES, "PEM file of the authorities that sign clients' certificates"),
    Flag("grpc-infer-response-compression-level", _TEXT, "none", _YES, "`none`, `low`, `medium` or `high`"),
    Flag("grpc-keepalive-time", _INT, "7200000", _YES, "milliseconds of silence until a client is pinged"),
    Flag("grpc-keepalive-timeout", _INT, "20000", _YES, "milliseconds that it has to answer"),
    Flag("grpc-keepalive-permit-without-calls", _BOOL, "false", _YES, "ping clients without calls, too"),
    Flag("grpc-http2-max-pings-without-data", _INT, "2", _YES, "pings in a row with nothing else; 0 is no limit"),
    Flag("grpc-http2-min-recv-ping-interval-without-data", _INT, "300000", _YES,
         "milliseconds between a client's pings"),
    Flag("grpc-http2-max-ping-strikes", _INT, "2", _YES, "pings too early until it is sent away; 0 sends nobody away"),
    Flag("grpc-max-connection-age", _INT, "", _YES, "milliseconds after which a connection is asked to go"),
    Flag("grpc-max-connection-age-grace", _INT, "", _YES, "milliseconds that its calls have then"),
    Flag("grpc-restricted-protocol", _TEXT, "", _YES,
         "`protocols:key=value`: these need the header `triton-grpc-protocol-key`", many=True),
    # SageMaker's and Vertex' ports.
    Flag("allow-sagemaker", _BOOL, "false", _LATER, _NO_PORT),
    Flag("sagemaker-port", _INT, "8080", _LATER, _NO_PORT),
    Flag("sagemaker-safe-port-range", _TEXT, "", _LATER, _NO_PORT),
    Flag("sagemaker-thread-count", _INT, "8", _NO, _ONE_LOOP),
    Flag("allow-vertex-ai", _BOOL, "false", _LATER, "there is no port for Vertex AI"),
    Flag("vertex-ai-port", _INT, "8080", _LATER, "there is no port for Vertex AI"),
    Flag("vertex-ai-thread-count", _INT, "8", _NO, _ONE_LOOP),
    Flag("vertex-ai-default-model", _TEXT, "", _LATER, "there is no port for Vertex AI"),
    # Metrics.
    Flag("allow-metrics", _BOOL, "true", _YES, "`false` does not open the port of metrics"),
    Flag("allow-gpu-metrics", _BOOL, "true", _NO, "there are no metrics of GPUs"),
    Flag("allow-cpu-metrics", _BOOL, "true", _NO, "there are no metrics of the machine"),
    Flag("metrics-address", _TEXT, "", _YES, "where `/metrics` is; not given, where REST is"),
    Flag("metrics-port", _INT, "8002", _YES, "its port; 0 is a free one"),
    Flag("metrics-interval-ms", _FLOAT, "2000", _NO, "metrics are counted when they are asked for"),
    Flag("metrics-config", _TEXT, "", _LATER, "there is one set of metrics, see [metrics](metrics.md)", many=True),
    # The rest.
    Flag("trace-config", _TEXT, "", _LATER, _TRACE, many=True),
    Flag("trace-file", _TEXT, "", _LATER, _TRACE),
    Flag("trace-level", _TEXT, "OFF", _LATER, _TRACE, many=True),
    Flag("trace-rate", _INT, "1000", _LATER, _TRACE),
    Flag("trace-count", _INT, "-1", _LATER, _TRACE),
    Flag("trace-log-frequency", _INT, "0", _LATER, _TRACE),
    Flag("backend-directory", _TEXT, "", _NO, "there are no shared libraries of backends"),
    Flag("backend-config", _TEXT, "", _LATER, "what a runtime is told stands in `model.toml`", many=True),
    Flag("repoagent-directory", _TEXT, "", _NO, "there are no repository agents"),
    Flag("cache-config", _TEXT, "", _YES,
         "`local,size=N` keeps N bytes of answers in memory; `redis,host=H`, `redis,port=P` and so on keep them in a"
         " Redis server", many=True),
    Flag("cache-directory", _TEXT, "", _NO, "there are no shared libraries of caches"),
    Flag("response-cache-byte-size", _INT, "0", _YES, "the same as `--cache-config=local,size=N`"),
    Flag("rate-limit", _TEXT, "off", _LATER, "an instance runs as soon as it is free"),
    Flag("rate-limit-resource", _TEXT, "", _LATER, "an instance runs as soon as it is free", many=True),
    Flag("allow-client-shm", _BOOL, "false", _YES, "`true` lets clients register shared memory of this machine"),
    Flag("pinned-memory-pool-byte-size", _INT, "268435456", _NO, _NO_GPU),
    Flag("cuda-memory-pool-byte-size", _TEXT, "", _NO, _NO_GPU, many=True),
    Flag("cuda-virtual-address-size", _TEXT, "", _NO, _NO_GPU, many=True),
    Flag("min-supported-compute-capability", _FLOAT, "6.0", _NO, _NO_GPU),
    Flag("buffer-manager-thread-count", _INT, "0", _NO, "tensors are views, there is nothing to copy"),
    Flag("host-policy", _TEXT, "", _NO, "processes run where the operating system puts them", many=True),
)  # fmt: skip

BY_NAME: Final[Mapping[str, Flag]] = {flag.name: flag for flag in FLAGS}
