"""The settings: where values come from, what is refused, and whether the docs keep up."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman import config
from dragoman.config import ModelSettings, Setting, Settings, describe, load, model_settings
from dragoman.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "dragoman.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def refused(file: str = "", environ: dict[str, str] | None = None, **flags: Any) -> ConfigError:
    path = write(file, "given.toml") if file else None
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, {name.replace("__", "."): value for name, value in flags.items()})
    return caught.value


# where values come from


def test_without_anything_said_the_defaults_hold() -> None:
    loaded = load(None, {}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origin.values()) == {"default"}
    assert list(loaded.origin) == [entry.name for entry in describe()]


def test_flags_win_over_the_environment_which_wins_over_the_file() -> None:
    write("[server]\nport = 1\nhost = 'a'\nprocesses = 2\n[models]\nmax_batch = 3")
    environ = {"DRAGOMAN_SERVER__PORT": "2", "DRAGOMAN_SERVER__HOST": "b", "PATH": "/bin"}
    loaded = load(None, environ, {"server.port": 3, "models.max_batch": None, "log.level": "debug"})
    assert (loaded.settings.server.port, loaded.settings.server.host) == (3, "b")
    assert (loaded.settings.server.processes, loaded.settings.models.max_batch) == (2, 3)
    assert {name: where for name, where in loaded.origin.items() if where != "default"} == {
        "server.port": "flag --port",
        "server.host": "environment DRAGOMAN_SERVER__HOST",
        "server.processes": "file dragoman.toml",
        "models.max_batch": "file dragoman.toml",
        "log.level": "flag --log-level",
    }


def test_a_named_file_is_read_instead_of_the_one_in_the_working_directory() -> None:
    write("[server]\nport = 1")
    loaded = load(write("[server]\nhost = 'x'", "mine.toml"), {}, {})
    assert (loaded.settings.server.port, loaded.settings.server.host) == (8080, "x")
    assert loaded.origin["server.host"] == "file mine.toml"


def test_variables_with_one_underscore_belong_to_someone_else() -> None:
    assert load(None, {"DRAGOMAN_PORT_8080_TCP": "tcp://10.0.0.1:8080"}, {}).settings == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("LIMITS__BODY_BYTES", "64MiB", 67_108_864),
        ("LIMITS__BODY_BYTES", "1.5 KiB", 1536),
        ("LIMITS__BODY_BYTES", "10MB", 10_000_000),
        ("LIMITS__BODY_BYTES", "12", 12),
        ("SERVER__GRACE", "500ms", 0.5),
        ("SERVER__GRACE", "30s", 30.0),
        ("SERVER__GRACE", "2m", 120.0),
        ("SERVER__GRACE", "1.5", 1.5),
        ("MODELS__PREFERRED_BATCH", "1, 2,4", (1, 2, 4)),
        ("MODELS__PREFERRED_BATCH", "", ()),
        ("LOG__ACCESS", "1", True),
        ("SERVER__HOST", "::", "::"),
    ],
)
def test_texts_of_the_environment_become_values(variable: str, text: str, value: object) -> None:
    section, key = variable.lower().split("__")
    found = getattr(getattr(load(None, {f"DRAGOMAN_{variable}": text}, {}).settings, section), key)
    assert found == value
    assert type(found) is type(value)


def test_sizes_and_durations_may_be_texts_in_the_file() -> None:
    settings = load(
        write("[limits]\nbody_bytes = '1GiB'\nidle_timeout = '2m'\nwrite_timeout = 3"), {}, {}
    ).settings
    assert settings.limits.body_bytes == 2**30
    assert settings.limits.idle_timeout == 120.0
    assert settings.limits.write_timeout == 3.0


# what is refused


@pytest.mark.parametrize(
    ("file", "message", "hint"),
    [
        ("[server]\nprot = 1", "unknown key server.prot (file given.toml)", "did you mean 'port'?"),
        ("[sever]\nport = 1", "unknown section 'sever' (file given.toml)", "did you mean 'server'?"),
        ("[limits]\nzzzz = 1", "unknown key limits.zzzz (file given.toml)", "known: requests, connections"),
        ("port = 1", "unknown section 'port' (file given.toml)", "'port' belongs in [server]"),
        ("server = 1", "server must be a table, got 1 (file given.toml)", "write [server]"),
        (
            "[server]\nport = '1'",
            "server.port must be a whole number from 0 to 65535, got '1' (file given.toml)",
            "",
        ),
        ("[server]\nport = true", "server.port must be a whole number from 0 to 65535, got True", ""),
        ("[server]\nport = 65536", "from 0 to 65535, got 65536", ""),
        ("[server]\nprocesses = 0", "server.processes must be a whole number, at least 1, got 0", ""),
        ("[server]\nhost = 1", "server.host must be a text, got 1", ""),
        ("[server]\ngrace = inf", "server.grace must be a number of seconds", ""),
        ("[server]\ngrace = '5 MiB'", "or a text such as \"500ms\", at least 0, got '5 MiB'", ""),
        ("[server]\ntls_cert = 'a'", "server.tls_cert needs server.tls_key too", ""),
        ("[limits]\nbody_bytes = 1.5", "limits.body_bytes must be a number of bytes", ""),
        ("[limits]\nbody_bytes = '0.3B'", "limits.body_bytes must be a number of bytes", ""),
        (
            "[log]\nlevel = 'loud'",
            "log.level must be one of 'debug', 'info', 'warning', 'error', got 'loud'",
            "",
        ),
        ("[log]\naccess = 'yes'", "log.access must be true or false, got 'yes'", ""),
        ("[models]\npreferred_batch = [1, 0]", "models.preferred_batch must be a list of whole numbers", ""),
        ("[models]\npreferred_batch = 4", "models.preferred_batch must be a list of whole numbers", ""),
        ("[server]\nport = ", "file given.toml is not TOML: ", ""),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(file: str, message: str, hint: str) -> None:
    error = refused(file)
    assert message in str(error)
    assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("variable", "text", "message", "hint"),
    [
        (
            "DRAGOMAN_SERVER__PROT",
            "1",
            "unknown setting (environment DRAGOMAN_SERVER__PROT)",
            "DRAGOMAN_SERVER__PORT",
        ),
        ("DRAGOMAN__SERVER__PORT", "1", "unknown setting", "DRAGOMAN_SERVER__PORT"),
        ("DRAGOMAN_server__port", "1", "unknown setting", ""),
        ("DRAGOMAN_SERVER__PORT", "", "got '' (environment DRAGOMAN_SERVER__PORT)", ""),
        ("DRAGOMAN_SERVER__PORT", "9" * 5000, "got '999", ""),
        ("DRAGOMAN_SERVER__GRACE", "nan", "got 'nan'", ""),
        ("DRAGOMAN_SERVER__GRACE", "1e999", "got '1e999'", ""),
        ("DRAGOMAN_LIMITS__BODY_BYTES", "1e19", "got '1e19'", ""),
        ("DRAGOMAN_LOG__ACCESS", "maybe", "log.access must be true or false, got 'maybe'", ""),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(
    variable: str, text: str, message: str, hint: str
) -> None:
    error = refused(environ={variable: text})
    assert message in str(error)
    assert hint in error.hint
    assert len(str(error)) < 300


def test_a_flag_that_makes_no_sense_is_refused_by_its_name() -> None:
    assert str(refused(server__port=-1)).endswith("got -1 (flag --port)")
    assert refused(server__prot=1).hint == "did you mean 'port'?"


def test_a_file_that_cannot_be_read_is_refused() -> None:
    for path, message in (
        (Path("none.toml"), "can't read file none.toml: No such file"),
        (Path(), "Is a directory"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(path, {}, {})
    Path("latin.toml").write_bytes(b"[server]\nhost = '\xe9'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(Path("latin.toml"), {}, {})


# what comes back


def values(entry: Setting) -> st.SearchStrategy[Any]:
    whole = st.integers(int(entry.least or 0), int(min(entry.most or 2**62, 2**62)))
    texts = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)
    return {
        "boolean": st.booleans(),
        "boolean or unset": st.booleans(),
        "integer": whole,
        "integer or unset": whole,
        "size": whole,
        "number": st.floats(entry.least or 0, min(entry.most or 1e300, 1e300)),
        "duration": st.floats(entry.least or 0, 1e300),
        "string": st.sampled_from(entry.choices) if entry.choices else texts,
        "list of integers": st.lists(whole, max_size=4).map(tuple),
        "list of strings": st.lists(st.text("abc.:/-0123456789", min_size=1, max_size=8), max_size=4).map(
            tuple
        ),
    }[entry.type]


SETTINGS = [entry for entry in describe() if not entry.key.startswith(("tls_", "load_model"))]


@given(st.data())
def test_any_value_written_down_comes_back(data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(SETTINGS))
    value = data.draw(values(entry))
    listed = list(value) if isinstance(value, tuple) else value
    file = write(f"[{entry.section}]\n{entry.key} = {json.dumps(listed, ensure_ascii=False)}\n", "round.toml")
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    for loaded in (
        load(file, {}, {}),
        load(None, {config.variable_name(entry.section, entry.key): text}, {}),
        load(None, {}, {entry.name: value}),
    ):
        assert getattr(getattr(loaded.settings, entry.section), entry.key) == value


# settings that go together


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"server.load_model": "a"}, "load_model is for server.control = 'explicit'"),
        ({"server.control": "explicit", "server.load_model": "*,a"}, r"'\*' or names, not both"),
        ({"server.control": "explicit", "server.processes": "2"}, "needs server.processes = 1"),
        ({"server.client_shm": "true", "server.processes": "2"}, "client_shm needs server.processes = 1"),
        ({"server.control": "now"}, "must be one of 'none', 'poll', 'explicit'"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(None, {}, flags)


# model.toml


def test_a_models_keys_override_the_defaults() -> None:
    defaults = ModelSettings(max_batch=4, queue_size=7)
    found = model_settings(
        {"max_batch": 8, "max_delay": "5ms", "execution": "inline"}, defaults, "model.toml"
    )
    assert found == ModelSettings(max_batch=8, queue_size=7, max_delay=0.005, execution="inline")


def test_a_models_unknown_and_wrong_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'max_bach' \(model.toml\)") as caught:
        model_settings({"max_bach": 1}, ModelSettings(), "model.toml")
    assert caught.value.hint == "did you mean 'max_batch'?"
    with pytest.raises(ConfigError, match="unknown key 'option'") as caught:
        model_settings({"option": {}}, ModelSettings(), "model.toml", also=("options",))
    assert caught.value.hint == "did you mean 'options'?"
    with pytest.raises(
        ConfigError, match=r"model.sequence_queue must be a whole number, at least 1, got 0 \(model.toml\)"
    ):
        model_settings({"sequence_queue": 0}, ModelSettings(), "model.toml")


# docs


def test_the_docs_tell_of_every_setting() -> None:
    page = DOCS.read_text(encoding="utf-8")
    assert page == config.fill(page), "write it anew: path.write_text(dragoman.config.fill(path.read_text()))"
    for entry in describe():
        assert f"| `{entry.key}` | {entry.type} |" in page
        assert f"<!-- settings: {entry.section} -->" in page


def test_every_setting_is_explained_and_no_two_flags_are_alike() -> None:
    assert all(entry.help and not entry.help.endswith(".") for entry in describe())
    flags = [config.flag_name(entry.section, entry.key) for entry in describe()]
    assert len(flags) == len(set(flags))


def test_the_json_schema_tells_of_every_setting() -> None:
    schema = json.loads(json.dumps(config.json_schema()))
    tables = schema["properties"]
    told = [(section, key) for section, table in tables.items() for key in table["properties"]]
    assert told == [(entry.section, entry.key) for entry in describe()]
    assert tables["server"]["properties"]["port"] == {
        "description": "TCP port of every REST dialect; 0 picks a free one",
        "default": 8080,
        "type": "integer",
        "minimum": 0,
        "maximum": 65535,
    }
    assert tables["models"]["properties"]["preferred_batch"]["items"] == {"type": "integer", "minimum": 1}


def test_the_public_names_are_sorted_and_there() -> None:
    assert sorted(config.__all__, key=lambda name: (name[0].islower(), name)) == config.__all__
    assert all(hasattr(config, name) for name in config.__all__)
