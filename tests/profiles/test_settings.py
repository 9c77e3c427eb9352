import json

import pytest

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.address import Address, parse_address
from dragoman.profiles.torchserve.keys import BY_NAME, KEYS, variable
from dragoman.profiles.torchserve.settings import CommandLine, GrpcAddress, load, parse_models, read
from dragoman.profiles.use import Use

STORE = CommandLine(model_store="store")


@pytest.fixture
def here(tmp_path):
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.fixture
def settle(here):
    def settle(text="", environ=None, **line):
        (here / "config.properties").write_text(text)
        return load(CommandLine(**{"model_store": "store", **line}), environ or {}, here)

    return settle


def test_the_defaults_are_torchserves(settle):
    settings = settle()
    assert str(settings.inference) == "http://127.0.0.1:8080"
    assert str(settings.management) == "http://127.0.0.1:8081"
    assert str(settings.metrics) == "http://127.0.0.1:8082"
    assert settings.grpc_inference == GrpcAddress("127.0.0.1", 7070)
    assert settings.grpc_management == GrpcAddress("127.0.0.1", 7071)
    assert settings.token_auth
    assert settings.token_minutes == 60
    assert not settings.model_api
    assert settings.max_request_size == 6_553_500
    assert (settings.queue_size, settings.response_timeout, settings.startup_timeout) == (100, 120, 120)
    assert settings.metrics_mode == "log"
    assert settings.decode_input
    assert settings.workers >= 1
    assert settings.default_workers == 0
    assert settings.load_models == ()
    assert settings.warnings == settings.notes == ()


def test_every_key_is_known_once_and_says_what_it_means():
    assert len(BY_NAME) == len(KEYS)
    assert all(len(key.meaning) > 5 for key in KEYS)


# One row for each key that is honoured: what a file says, and what comes of it.
HONOURED = {
    "inference_address": ("https://0.0.0.0:8443", lambda s: str(s.inference) == "https://0.0.0.0:8443"),
    "management_address": ("unix:/tmp/m.sock", lambda s: s.management.path == "/tmp/m.sock"),
    "metrics_address": ("http://[::1]:1", lambda s: s.metrics.host == "::1"),
    "enable_metrics_api": ("false", lambda s: s.metrics is None),
    "certificate_file": ("c.pem", lambda s: s.certificate.endswith("c.pem")),
    "private_key_file": ("/k.pem", lambda s: s.private_key == "/k.pem"),
    "cors_allowed_origin": ("*", lambda s: s.cors == (("access-control-allow-origin", "*"),)),
    "cors_allowed_methods": ("GET, PUT", lambda s: s.cors == (("access-control-allow-methods", "GET, PUT"),)),
    "cors_allowed_headers": ("X-A", lambda s: s.cors == (("access-control-allow-headers", "X-A"),)),
    "max_request_size": ("77", lambda s: s.settings().limits.body_bytes == 77),
    "grpc_inference_address": ("::1", lambda s: s.grpc_inference.host == "::1"),
    "grpc_inference_port": ("70", lambda s: s.grpc_inference.port == 70),
    "grpc_management_address": ("0.0.0.0", lambda s: s.grpc_management.host == "0.0.0.0"),
    "grpc_management_port": ("71", lambda s: s.grpc_management.port == 71),
    "grpc_inference_max_connection_age_ms": ("1500", lambda s: s.grpc_inference.age == 1.5),
    "grpc_inference_max_connection_age_grace_ms": ("10", lambda s: s.grpc_inference.age_grace == 0.01),
    "grpc_management_max_connection_age_ms": ("2000", lambda s: s.grpc_management.age == 2),
    "grpc_management_max_connection_age_grace_ms": ("20", lambda s: s.grpc_management.age_grace == 0.02),
    "enable_grpc_ssl": ("true", lambda s: s.grpc_inference.tls and s.grpc_management.tls),
    "model_store": ("other", lambda s: s.model_store.name == "other"),
    "workflow_store": ("other", lambda s: s.workflow_store.name == "other"),
    "load_models": ("a=a.mar,b.mar", lambda s: s.load_models == (("a", "a.mar"), ("", "b.mar"))),
    "models": ('{"a":{"1.0":{"batchSize":4}}}', lambda s: s.models["a"]["1.0"]["batchSize"] == 4),
    "model_snapshot": (
        '{"models":{"a":{"1.0":{"marName":"x.mar","minWorkers":3}}}}',
        lambda s: s.load_models == (("a", "x.mar"),) and s.models["a"]["1.0"]["minWorkers"] == 3,
    ),
    "default_workers_per_model": (
        "3",
        lambda s: (s.default_workers, s.settings().models.instances) == (3, 3),
    ),
    "number_of_gpu": ("5", lambda s: s.workers == 5),
    "debug": ("TRUE", lambda s: s.workers == 1),
    "job_queue_size": ("7", lambda s: s.settings().models.queue_size == 7),
    "default_response_timeout": ("9", lambda s: s.settings().models.response_timeout == 9.0),
    "unregister_model_timeout": ("6", lambda s: s.settings().server.grace == 6.0),
    "default_service_handler": ("service.py:handle", lambda s: s.handler == "service.py:handle"),
    "service_envelope": ("JSON", lambda s: s.envelope == "json"),
    "decode_input_request": ("false", lambda s: not s.decode_input),
    "install_py_dep_per_model": (
        "true",
        lambda s: s.install_requirements and s.settings().models.install_requirements,
    ),
    "limit_max_image_pixels": ("false", lambda s: not s.limit_max_image_pixels),
    "blacklist_env_vars": (".*SECRET.*", lambda s: s.hidden_variables.fullmatch("MY_SECRET_KEY")),
    "ts_open_inference_protocol": ("true", lambda s: s.open_inference),
    "ts_header_key_sequence_id": ("X-Session", lambda s: s.sequence_headers[0] == "X-Session"),
    "ts_header_key_sequence_start": ("X-Start", lambda s: s.sequence_headers[1] == "X-Start"),
    "ts_header_key_sequence_end": ("X-End", lambda s: s.sequence_headers[2] == "X-End"),
    "default_startup_timeout": ("8", lambda s: s.startup_timeout == 8),
    "enable_model_api": ("true", lambda s: s.model_api),
    "allowed_urls": (
        "https://a/.*,file://.*",
        lambda s: [url.pattern for url in s.allowed_urls] == ["https://a/.*", "file://.*"],
    ),
    "allowed_networks": (
        "10.1.0.0/16, fd00::/8",
        lambda s: [str(network) for network in s.allowed_networks] == ["10.1.0.0/16", "fd00::/8"],
    ),
    "disable_token_authorization": ("true", lambda s: not s.token_auth),
    "token_expiration_min": ("0.5", lambda s: s.token_minutes == 0.5),
    "metrics_mode": ("prometheus", lambda s: s.metrics_mode == "prometheus"),
    "metrics_config": ("metrics.yaml", lambda s: [*s.declared_metrics.backend] == ["Asked"]),
    "model_metrics_auto_detect": ("true", lambda s: s.detect_metrics),
    "disable_system_metrics": ("true", lambda s: not s.system_metrics),
    "metric_time_interval": ("7", lambda s: s.metrics_interval == 7),
}
ELSEWHERE = {"enable_envvars_config", "use_env_allowed_urls"}


def test_every_honoured_key_is_tested():
    assert {key.name for key in KEYS if key.use is Use.HONOURED} == HONOURED.keys() | ELSEWHERE


@pytest.mark.parametrize("name", HONOURED)
def test_an_honoured_key_does_what_it_says(here, name):
    (here / "other").mkdir()
    (here / "metrics.yaml").write_text("model_metrics: {counter: [{name: Asked, unit: x, dimensions: []}]}")
    text, holds = HONOURED[name]
    values = {"model_store": "store", "certificate_file": "c.pem", "private_key_file": "k.pem"}
    before, after = read(values, here), read({**values, name: text}, here)
    assert holds(after)
    assert before != after or name in ("certificate_file",)
    assert after.notes == ()


@pytest.mark.parametrize("key", [key for key in KEYS if key.use is Use.NOTHING], ids=lambda key: key.name)
def test_a_key_without_meaning_is_noted_and_does_no_harm(settle, key):
    settings = settle(f"{key.name}=17")
    assert settings.warnings == ()
    assert settings.notes == (f"{key.name} has no meaning here: {key.meaning}",)


@pytest.mark.parametrize("key", [key for key in KEYS if key.use is Use.LATER], ids=lambda key: key.name)
def test_a_key_that_can_not_be_honoured_warns_unless_it_is_set_to_its_default(settle, key):
    value = "true" if key.default == "false" else "17"
    assert settle(f"{key.name}={value}").warnings == (f"{key.name} has no effect: {key.meaning}",)
    assert settle(f"{key.name}={key.default}").warnings == ()


def test_requests_that_may_fetch_from_anywhere_are_warned_of(settle):
    (warning,) = settle("enable_model_api=true").warnings
    assert "allowed_urls" in warning
    assert settle("enable_model_api=true\nallowed_urls=https://models.example/.*").warnings == ()
    assert settle("allowed_urls=.*").warnings == ()


def test_metrics_are_logged_where_the_environment_says(settle, here):
    assert settle().metrics_folder == here / "logs"
    assert settle(environ={"METRICS_LOCATION": "numbers"}).metrics_folder == here / "numbers"


def test_by_default_only_this_machine_is_listened_to(settle):
    settings = settle()
    assert all(address.local for address in (settings.inference, settings.management, settings.metrics))


def test_an_unknown_key_warns_and_guesses(settle):
    settings = settle("job_queue_sise=7\nxyzzy=1")
    assert settings.warnings == (
        "unknown key 'job_queue_sise' is ignored: did you mean 'job_queue_size'?",
        "unknown key 'xyzzy' is ignored",
    )
    assert settings.queue_size == 100


def test_the_switches_that_matter_warn_when_they_are_not_understood(settle):
    settings = settle("disable_token_authorization=yes")
    assert settings.token_auth
    assert settings.warnings == ("disable_token_authorization=yes means false: only true means true",)


def test_doors_open_to_other_machines_without_a_key_are_told(settle):
    text = "inference_address=http://0.0.0.0:8080\n"
    assert settle(text).warnings == ()
    warning = "inference_address http://0.0.0.0:8080 is open to other machines, and nobody is asked for a key"
    assert settle(text, disable_token_auth=True).warnings == (warning,)


def test_the_environment_wins_over_the_command_line_which_wins_over_the_file(settle):
    file = "load_models=file.mar\n"
    environ = {"TS_LOAD_MODELS": "environment.mar"}
    assert settle(file).load_models == (("", "file.mar"),)
    assert settle(file, environ).load_models == (("", "file.mar"),)
    assert settle(file, environ, models=("line.mar", "b=c.mar")).load_models == (
        ("", "line.mar"),
        ("b", "c.mar"),
    )
    file += "enable_envvars_config=true\n"
    assert settle(file, environ, models=("line.mar",)).load_models == (("", "environment.mar"),)


def test_flags_turn_the_switches(settle):
    settings = settle("", disable_token_auth=True, enable_model_api=True)
    assert not settings.token_auth
    assert settings.model_api
    assert settle("enable_model_api=true\ndisable_token_authorization=true").model_api


@pytest.mark.parametrize(
    ("variable", "value", "holds"),
    [
        ("TS_TOKEN_EXPIRATION_TIME_MIN", "2.5", lambda s: s.token_minutes == 2.5),
        ("TS_TOKEN_EXPIRATION_MIN", "2.5", lambda s: s.token_minutes == 60),
        ("TS_OPEN_INFERENCE_PROTOCOL", "true", lambda s: s.open_inference),
        ("TS_DISABLE_TOKEN_AUTHORIZATION", "true", lambda s: not s.token_auth),
        ("TS_INFERENCE_ADDRESS", "http://127.0.0.1:9", lambda s: s.inference.port == 9),
        ("TS_ALLOWED_URLS", "x", lambda s: s.allowed_urls[0].pattern != "x"),
        ("TS_MODELS", "no JSON", lambda s: s.models == {}),
        ("TS_ENABLE_ENVVARS_CONFIG", "false", lambda s: s.workers),
    ],
)
def test_variables_are_named_as_in_torchserves_source(settle, variable, value, holds):
    assert holds(settle("enable_envvars_config=true", {variable: value}))


def test_allowed_urls_come_from_the_environment_only_when_the_file_says_so(settle):
    file = "enable_envvars_config=true\nuse_env_allowed_urls=true\nallowed_urls=a"
    assert settle(file, {"TS_ALLOWED_URLS": "x,y"}).allowed_urls[1].pattern == "y"
    networks = settle(file, {"TS_ALLOWED_NETWORKS": "10.1.0.0/16"}).allowed_networks
    assert str(networks[0]) == "10.1.0.0/16"


def test_oip_is_always_listened_to(settle):
    assert settle("", {"TS_OPEN_INFERENCE_PROTOCOL": "oip"}).open_inference


def test_every_key_has_one_variable_at_most():
    names = [variable(key.name) for key in KEYS if variable(key.name)]
    assert len(names) == len(set(names))
    assert all(name.startswith("TS_") for name in names)


def test_the_file_is_looked_for_in_torchserves_order(here):
    snapshots = here / "logs" / "config"
    snapshots.mkdir(parents=True)
    for name, where in {
        "config.properties": here,
        "20261121224046766-startup.cfg": snapshots,
        "20261121224116639-snapshot.cfg": snapshots,
        "named.properties": here,
        "variable.properties": here,
    }.items():
        (where / name).write_text(f"default_service_handler={name}")
    named = CommandLine(model_store="store", ts_config="named.properties")

    assert load(named, {"TS_CONFIG_FILE": "variable.properties"}, here).handler == "variable.properties"
    assert load(named, {}, here).handler == "named.properties"
    assert load(STORE, {}, here).handler == "20261121224116639-snapshot.cfg"
    assert load(STORE, {"LOG_LOCATION": "else"}, here).handler == "config.properties"
    line = CommandLine(model_store="store", no_config_snapshots=True)
    assert load(line, {}, here).handler == "config.properties"
    (here / "config.properties").unlink()
    assert load(line, {}, here).handler == ""


def test_a_snapshot_is_started_from_as_torchserve_wrote_it(here):
    snapshot = {
        "name": "s",
        "modelCount": 1,
        "models": {"echo": {"1.0": {"marName": "e.mar", "minWorkers": 1}}},
    }
    escaped = json.dumps(snapshot, indent=2).replace("\n", "\\n").replace(":", "\\:")
    (here / "config.properties").write_text(
        "#Saving snapshot\n#Sat Nov 21 22:41:16 UTC 2026\n"
        "inference_address=http\\://127.0.0.1\\:18080\nload_models=other\\=other.mar\nmodel_store=store\nworkflow_store=store\n"
        f"model_snapshot={escaped}\nversion=0.12.0\npython=/usr/bin/python\ntsConfigFile=x\nnumber_of_gpu=0\n"
    )
    settings = load(CommandLine(), {}, here)
    assert settings.load_models == (("echo", "e.mar"),)
    assert settings.inference.port == 18080
    assert settings.models == {"echo": {"1.0": {"marName": "e.mar", "minWorkers": 1}}}
    assert settings.warnings == ()


@pytest.mark.parametrize("text", ["{}", '{"models":[]}', '{"models":{"a":1}}', '{"models":{"a":{"1.0":2}}}'])
def test_snapshots_that_say_nothing_are_nothing(settle, text):
    settings = settle(f"model_snapshot={text}\nload_models=b.mar")
    assert settings.load_models == (("", "b.mar"),)


def test_latin_1_files_are_read_too(here):
    (here / "config.properties").write_bytes("default_service_handler=größe".encode("latin-1"))
    assert load(STORE, {}, here).handler == "größe"
    (here / "config.properties").write_bytes("default_service_handler=größe".encode())
    assert load(STORE, {}, here).handler == "größe"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inference_address=127.0.0.1:8080", "inference_address is no address"),
        ("inference_address=http://a:70000", "is no address"),
        ("inference_address=https://a:1", "needs certificate_file and private_key_file"),
        ("job_queue_size=many", "job_queue_size must be a whole number, at least 1, got 'many'"),
        ("job_queue_size=0", "at least 1"),
        ("default_response_timeout=-1", "at least 0"),
        ("token_expiration_min=soon", "token_expiration_min must be a number"),
        ("token_expiration_min=-1", "token_expiration_min must be a number"),
        ("models=[1]", "models must be a JSON object"),
        ("models={", "models is not JSON"),
        ("service_envelope=xml", "service_envelope must be one of body, json, kserve, kservev2"),
        (
            "ts_header_key_sequence_id=my id",
            "ts_header_key_sequence_id must be the name of a header, got 'my id'",
        ),
        ("ts_header_key_sequence_id=", "must be the name of a header"),
        ("ts_header_key_sequence_end=TS_Request_Sequence_Id", "must differ"),
        ("metrics_config=nowhere.yaml", "metrics_config can't be read: .*nowhere.yaml: No such file"),
        ("metrics_mode=loud", "metrics_mode must be one of log, prometheus, legacy"),
        ("blacklist_env_vars=(", "no regular expression"),
        ("allowed_urls=ok,(", "no regular expression"),
        ("allowed_networks=10.1.0.0/33", "must be networks such as"),
        ("model_store=$$NO_SUCH$$", "NO_SUCH"),
        ("a=\\u00", "malformed"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(settle, text, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        settle(text)


def test_the_model_store_is_mandatory_and_must_be_there(here):
    with pytest.raises(ConfigError, match=r"^Missing mandatory parameter --model-store$"):
        load(CommandLine(), {}, here)
    with pytest.raises(ConfigError, match=r"^--model-store directory not found: nowhere$"):
        load(CommandLine(model_store="nowhere"), {}, here)
    with pytest.raises(ConfigError, match=r"^--ts-config file not found: nowhere$"):
        load(CommandLine(model_store="store", ts_config="nowhere"), {}, here)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1", Address("127.0.0.1", 80)),
        ("https://127.0.0.1", Address("127.0.0.1", 443, tls=True)),
        ("HTTP://localhost:8080/", Address("localhost", 8080)),
        ("http://0.0.0.0:0", Address("0.0.0.0", 0)),
        ("unix:/tmp/a b", Address(path="/tmp/a b")),
    ],
)
def test_addresses(text, address):
    assert parse_address(text, "x", (80, 443)) == address


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("http://127.0.0.1:1", True), ("http://127.9.9.9:1", True), ("http://localhost:1", True),
        ("http://[::1]:1", True), ("unix:/a", True), ("http://0.0.0.0:1", False), ("http://10.0.0.1:1", False),
        ("http://me.example:1", False), ("http://[::]:1", False),
    ],
)  # fmt: skip
def test_which_addresses_only_this_machine_reaches(text, local):
    assert parse_address(text, "x", (80, 443)).local is local


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", ()),
        ("a.mar", (("", "a.mar"),)),
        ("all", (("", "all"),)),
        ("a=b.mar, c.mar ,,d=", (("a", "b.mar"), ("", "c.mar"))),
        ("https://h/a.mar?v=1", (("", "https://h/a.mar?v=1"),)),
        ("m=https://h/a.mar?v=1", (("m", "https://h/a.mar?v=1"),)),
    ],
)
def test_lists_of_models(text, pairs):
    assert parse_models(text) == pairs
