"""Every key of TorchServe 0.12's config.properties, and one more, and what it means here: the one table. Reads nothing.

The docs show this table, and a test compares the two.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from dragoman.profiles.use import Use


class Key(NamedTuple):
    """``default`` is what counts where a file doesn't say the key; ``meaning`` is one line for people."""

    name: str
    default: str
    use: Use
    meaning: str


_YES, _LATER, _NO = Use.HONOURED, Use.LATER, Use.NOTHING
_JVM: Final = "there is no JVM"
_NETTY: Final = "there is no Netty: one event loop carries every connection"

KEYS: Final = (
    # Where it listens.
    Key("inference_address", "http://127.0.0.1:8080", _YES, "where predictions are asked for"),
    Key("management_address", "http://127.0.0.1:8081", _YES, "where models are managed; equal addresses share a port"),
    Key("metrics_address", "http://127.0.0.1:8082", _YES, "where `/metrics` is"),
    Key("enable_metrics_api", "true", _YES, "`false` does not open the metrics address"),
    Key("certificate_file", "", _YES, "PEM file of the certificate chain, for `https://` addresses"),
    Key("private_key_file", "", _YES, "PEM file of the certificate's key"),
    Key("keystore", "", _LATER, "Java's keystore: make it certificate_file and private_key_file"),
    Key("keystore_pass", "changeit", _LATER, "see `keystore`"),
    Key("keystore_type", "PKCS12", _LATER, "see `keystore`"),
    Key("cors_allowed_origin", "", _YES, "the `access-control-allow-origin` of every answer"),
    Key("cors_allowed_methods", "", _YES, "the `access-control-allow-methods` of every answer"),
    Key("cors_allowed_headers", "", _YES, "the `access-control-allow-headers` of every answer"),
    Key("max_request_size", "6553500", _YES, "bytes of a request's body; more is answered 413"),
    Key("max_response_size", "6553500", _NO, "an answer is no frame between processes that has to fit"),
    Key("grpc_inference_address", "127.0.0.1", _YES, "host of gRPC predictions"),
    Key("grpc_inference_port", "7070", _YES, "their port"),
    Key("grpc_management_address", "127.0.0.1", _YES, "host of gRPC management; an equal address shares the port"),
    Key("grpc_management_port", "7071", _YES, "its port"),
    Key("grpc_inference_max_connection_age_ms", "", _YES, "milliseconds after which a connection is asked to go"),
    Key("grpc_inference_max_connection_age_grace_ms", "", _YES, "milliseconds that its calls have then"),
    Key("grpc_management_max_connection_age_ms", "", _YES, "the same on the management port"),
    Key("grpc_management_max_connection_age_grace_ms", "", _YES, "the same on the management port"),
    Key("enable_grpc_ssl", "false", _YES, "`true` takes certificate_file and private_key_file for gRPC, too"),
    # Which models, and how.
    Key("model_store", "", _YES, "the folder of archives; needed here or as `--model-store`"),
    Key("load_models", "", _YES, "models to load at the start: `[name=]location`, joined by commas, or `all`"),
    Key("models", "", _YES, "JSON of settings per model and version; it loads nothing by itself"),
    Key("model_snapshot", "", _YES, "JSON that TorchServe wrote: the models and settings to start with"),
    Key("workflow_store", "", _YES, "the folder of workflows' archives; the model store where it isn't named"),
    Key("default_workers_per_model", "0", _YES, "a model's workers; 0 is one a GPU, or else one a core"),
    Key("number_of_gpu", "", _YES, "counts only where default_workers_per_model is 0"),
    Key("debug", "false", _YES, "one worker a model, whatever default_workers_per_model says"),
    Key("job_queue_size", "100", _YES, "requests that may wait for a model; more are answered 503"),
    Key("default_response_timeout", "120", _YES, "seconds an execution may take before its worker is replaced"),
    Key("default_startup_timeout", "120", _YES, "seconds that a worker may take to load its model"),
    Key("unregister_model_timeout", "120", _YES, "seconds that accepted requests have when the server stops"),
    Key("default_service_handler", "", _YES, "the handler of an archive that names none"),
    Key("service_envelope", "", _YES, "how bodies are wrapped: `body`, `json`, `kserve` or `kservev2`"),
    Key("decode_input_request", "true", _YES, "`false` hands JSON and text to handlers as bytes"),
    Key("limit_max_image_pixels", "true", _YES, "told to handlers, which may refuse pictures that inflate"),
    Key("blacklist_env_vars", "", _YES, "regular expression of environment variables that handlers do not see"),
    Key("ts_open_inference_protocol", "false", _YES, "adds `/v2` and its health paths to the inference port"),
    Key("ts_header_key_sequence_id", "ts_request_sequence_id", _YES, "the header that names a request's sequence"),
    Key("ts_header_key_sequence_start", "ts_request_sequence_start", _YES, "the header that is `true` on the first"),
    Key("ts_header_key_sequence_end", "ts_request_sequence_end", _YES, "the header that is `true` on the last"),
    Key("install_py_dep_per_model", "false", _YES, "an archive's requirements are installed, apart from the server"),
    Key("ipex_enable", "false", _LATER, "handlers are not optimized with IPEX"),
    Key("ipex_gpu_enable", "false", _LATER, "handlers are not optimized with IPEX"),
    Key("cpu_launcher_enable", "false", _LATER, "workers are not pinned to cores"),
    Key("cpu_launcher_args", "", _LATER, "workers are not pinned to cores"),
    Key("initial_worker_port", "9000", _NO, "workers have no ports"),
    Key("initial_distribution_port", "29500", _LATER, "models over several processes (torchrun) are not served yet"),
    # Who may.
    Key("disable_token_authorization", "false", _YES, "`true` asks nobody for a key"),
    Key("token_expiration_min", "60", _YES, "minutes until the inference and management keys expire; fractions too"),
    Key("enable_model_api", "false", _YES, "`true` lets requests register and remove models and workflows"),
    Key("allowed_urls", "file://.*|http(s)?://.*", _YES, "regular expressions, by commas, of URLs models come from"),
    Key("allowed_networks", "", _YES, "Dragoman's own: networks to fetch from that are not public, as `10.1.0.0/16`"),
    Key("use_env_allowed_urls", "false", _YES, "`true` lets the environment set the two before, too"),
    Key("enable_envvars_config", "false", _YES, "`true` lets `TS_...` environment variables win over this file"),
    # Numbers and logs.
    Key("metrics_mode", "log", _YES, "`prometheus` answers `/metrics`, `log` writes files, `legacy` does some of both"),
    Key("metrics_config", "", _YES, "YAML file that declares the metrics, handlers' own among them"),
    Key("model_metrics_auto_detect", "false", _YES, "`true` takes handlers' metrics that are not declared, too"),
    Key("disable_system_metrics", "false", _YES, "`true` leaves the host's processors, memory and disk out"),
    Key("system_metrics_cmd", "", _NO, "the host is measured without a command"),
    Key("metric_time_interval", "60", _YES, "seconds between two lines about the host in `ts_metrics.log`"),
    Key("async_logging", "false", _NO, "log lines are short and go to one place"),
    Key("cpp_log_config", "", _NO, "there is no C++ backend"),
    # The JVM's, and TorchServe's own affairs.
    Key("number_of_netty_threads", "0", _NO, _NETTY),
    Key("netty_client_threads", "0", _NO, _NETTY),
    Key("use_native_io", "true", _NO, "Unix sockets are always there"),
    Key("io_ratio", "50", _NO, _NETTY),
    Key("prefer_direct_buffer", "false", _NO, "bodies are never copied through a heap"),
    Key("vmargs", "", _NO, _JVM),
    Key("plugins_path", "", _NO, "plugins are Java archives, and " + _JVM),
    Key("snapshot_store", "", _NO, "snapshots lie in `logs/config`"),
    Key("model_server_home", "", _NO, "the server finds its own files"),
    Key("python", "", _NO, "handlers run under the server's own Python"),
    Key("version", "", _NO, "TorchServe's, in a snapshot"),
    Key("tsConfigFile", "", _NO, "TorchServe's, in a snapshot"),
)  # fmt: skip

BY_NAME: Final[Mapping[str, Key]] = {key.name: key for key in KEYS}

#: Keys that the environment can't set, even with enable_envvars_config.
_FILE_ONLY: Final = frozenset({
    "enable_envvars_config", "io_ratio", "metric_time_interval", "model_snapshot", "models", "plugins_path", "python",
    "system_metrics_cmd", "tsConfigFile", "use_env_allowed_urls", "use_native_io", "version", "vmargs",
})  # fmt: skip


def variable(name: str) -> str:
    """The environment variable that sets a key; "" where none does.

    It is named after a constant in TorchServe's source, so that one differs from its key.
    """
    if name in _FILE_ONLY:
        return ""
    if name == "token_expiration_min":
        return "TS_TOKEN_EXPIRATION_TIME_MIN"
    return name.upper() if name.startswith("ts_") else f"TS_{name.upper()}"
