"""The commands that ask and tell, run as people run them."""

import json
import tomllib

import pytest

from dragoman import __version__
from dragoman.config import Settings, json_schema, load
from tests.cli.running import dragoman


def test_the_version_is_printed():
    done = dragoman("--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_without_a_command_it_lists_them():
    done = dragoman()
    for command in ("serve", "check", "predict", "models", "routes", "config", "demo"):
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", ["serve", "check", "predict", "models", "routes", "demo"])
def test_every_help_has_examples(command):
    done = dragoman(command, "--help")
    assert done.returncode == 0
    assert f"dragoman {command}" in done.stdout.partition("Examples:")[2]


def test_models_lists_what_a_server_has(server):
    done = dragoman("models", "--url", server.url)
    assert done.returncode == 0
    assert "a FP32[?,2], b FP32[?,2] -> sum FP32[?,2]" in done.stdout
    assert "no weights" in done.stdout
    lines = {
        line["name"]: line for line in json.loads(dragoman("models", "--url", server.url, "--json").stdout)
    }
    assert {name: line["state"] for name, line in lines.items()} == {
        "Broken": "UNAVAILABLE",
        "Double": "READY",
        "Shout": "READY",
        "Sum": "READY",
    }
    assert lines["Shout"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


def test_a_server_that_is_not_there_is_told_with_a_hint():
    for command in (["models"], ["predict", "iris", "[1]"]):
        done = dragoman(*command, "--url", "http://127.0.0.1:9")
        assert done.returncode == 1
        assert done.stderr.startswith("error: can't reach http://127.0.0.1:9: Connection refused\nhint: ")
        assert "dragoman serve" in done.stderr


def test_an_address_that_is_none_is_a_usage_error():
    for url in ("ftp://x", "http://", "http://h:port"):
        assert dragoman("models", "--url", url).returncode == 2, url


def test_check_finds_what_is_well_and_what_is_not(folder):
    (folder / "models").mkdir()
    (folder / "models" / "bad name.onnx").touch()
    (folder / "models" / "good.onnx").touch()
    done = dragoman("check", "models", "app.py:Broken", "--json", cwd=folder)
    assert done.returncode == 1
    findings = {finding["model"]: finding for finding in json.loads(done.stdout)}
    assert findings["good"] == {"model": "good", "version": "1", "runtime": "onnx", "problem": "", "hint": ""}
    assert "can't be a model's name" in findings["bad name"]["problem"]
    assert findings["Broken"]["problem"] == ""  # nothing was loaded


def test_check_can_load_what_it_checks(folder):
    done = dragoman("check", "app.py:Broken", "app.py:Sum", "--load", cwd=folder)
    assert done.returncode == 1
    assert "no weights" in done.stdout
    assert dragoman("check", "app.py:Sum", "--load", cwd=folder).returncode == 0


def test_check_names_a_runtime_that_is_none(folder):
    (folder / "dragoman.toml").write_text('[models]\nruntime = "pyton"\n')
    done = dragoman("check", "app.py:Sum", cwd=folder)
    assert done.returncode == 1
    assert "unknown runtime 'pyton'" in done.stdout


def test_check_refuses_a_configuration(folder):
    (folder / "dragoman.toml").write_text("[server]\nprot = 1\n")
    done = dragoman("check", "app.py:Sum", cwd=folder)
    assert done.returncode == 78
    assert done.stderr == "error: unknown key server.prot (file dragoman.toml)\nhint: did you mean 'port'?\n"
    assert dragoman("check", "nothing.onnx").returncode == 78
    (folder / "dragoman.toml").write_text('[server]\ntls_cert = "no.pem"\ntls_key = "no.pem"\n')
    assert "can't read the TLS certificate" in dragoman("check", "app.py:Sum", cwd=folder).stderr


def test_config_show_prints_a_file_that_says_the_same(folder):
    (folder / "other.toml").write_text('[models]\nmax_delay = "5ms"\npreferred_batch = [2, 4]\n')
    done = dragoman("config", "show", "--config", "other.toml", cwd=folder, DRAGOMAN_SERVER__PORT="9000")
    (folder / "shown.toml").write_text(done.stdout)
    settings = load(folder / "shown.toml", {}, {}).settings
    assert settings == load(folder / "other.toml", {"DRAGOMAN_SERVER__PORT": "9000"}, {}).settings
    assert settings != Settings()


def test_config_show_says_where_values_came_from(folder):
    done = dragoman("config", "show", "--origin", cwd=folder, DRAGOMAN_SERVER__PORT="9000")
    assert "# environment DRAGOMAN_SERVER__PORT\n" in done.stdout
    assert tomllib.loads(done.stdout)["server"]["port"] == 9000
    done = dragoman("config", "show", "--origin", "--json", cwd=folder)
    assert json.loads(done.stdout)["server"]["port"] == {"value": 8080, "origin": "default"}


def test_config_show_shows_no_secret(folder):
    secret = {"DRAGOMAN_SERVER__RESTRICT": "health:key=s3cret"}
    shown = dragoman("config", "show", cwd=folder, **secret).stdout
    assert "# restrict is set, and not shown\n" in shown
    document = json.loads(dragoman("config", "show", "--json", cwd=folder, **secret).stdout)
    assert document["server"]["restrict"] == "(hidden)"
    assert "s3cret" not in shown
    (folder / "dragoman.toml").write_text("[server]\nrestrict = ['s3cret']\n")
    assert "s3cret" not in dragoman("config", "show", cwd=folder).stderr


def test_config_schema_prints_the_schema():
    assert json.loads(dragoman("config", "schema").stdout) == json.loads(json.dumps(json_schema()))


def test_routes_lists_what_a_server_answers(server):
    lines = json.loads(dragoman("routes", "--json").stdout)
    found = {(method, line["path"]): line for line in lines for method in line["methods"]}
    assert found["POST", "/v2/models/{}/infer"]["part"] == "kserve_v2"
    assert ("GET", "/metrics") in found
    assert found["gRPC", "/inference.GRPCInferenceService/ModelInfer"]["part"] == "kserve_v2"
    assert found["gRPC", "/grpc.health.v1.Health/Check"]["part"] == "grpc"
    assert all(line["about"] for line in lines)
    assert "/v2/models/{}/infer" in dragoman("routes").stdout


def test_the_demo_is_handed_its_options(folder):
    (folder / "sitecustomize.py").write_text(
        "import sys, types\n"
        "module = types.ModuleType('dragoman.demo')\n"
        "module.run = lambda **options: print(options) or 3\n"
        "sys.modules['dragoman.demo'] = module\n"
    )
    done = dragoman("demo", "--once", "--port", "0", cwd=folder, PYTHONPATH=str(folder))
    assert (done.returncode, done.stdout) == (3, "{'once': True, 'host': '127.0.0.1', 'port': 0}\n")
