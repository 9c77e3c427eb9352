"""The files for KServe: what its own client's models allow, and what our commands really take."""

import os
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from dragoman import cli
from dragoman.config import load
from dragoman.serving.mounted import make_mounted_parser
from tests.deploy.strict import check, problems

FOLDER = Path(__file__).parents[2] / "deploy" / "kserve"
KINDS = {
    "ClusterServingRuntime": "V1alpha1ClusterServingRuntime",
    "InferenceService": "V1beta1InferenceService",
    "ConfigMap": "V1ConfigMap",
}


def documents(file: str) -> list[dict]:
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


@pytest.fixture(scope="module")
def runtime() -> dict:
    return documents("runtime.yaml")[0]["spec"]


@pytest.fixture(scope="module")
def container(runtime) -> dict:
    return runtime["containers"][0]


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_file_is_what_kserve_s_own_client_takes(file):
    for document in documents(file):
        check(document, KINDS[document["kind"]])


def test_what_nobody_knows_is_found():
    runtime = {"kind": "ClusterServingRuntime", "spec": {"containers": [{"name": "a", "imgae": "b"}]}}
    assert list(problems(runtime, "V1alpha1ClusterServingRuntime")) == [
        ".spec.containers[0]: V1Container has no 'imgae'"
    ]
    assert list(problems({"spec": {"containers": 3}}, "V1alpha1ServingRuntime"))


def test_the_runtime_s_arguments_are_the_command_s_own(container):
    arguments = [each.replace("{{.Name}}", "iris") for each in container["args"]]
    given = make_mounted_parser().parse_args(arguments)
    assert (given.model_name, given.model_dir) == ("iris", "/mnt/models")
    assert (given.http_port, given.grpc_port) == (8080, 8081)
    program, command = container["command"]
    assert (program, command) == ("dragoman", "kserve")
    assert "kserve" in typer.main.get_command(cli.app).commands


@pytest.mark.parametrize("file", ["runtime.yaml", "sklearn.yaml"])
def test_every_variable_is_a_setting(file):
    text = (FOLDER / file).read_text()
    variables = dict(re.findall(r"name: (DRAGOMAN_\w+), value: \"?([^\"}]+)\"?\}", text))
    assert variables
    load(None, variables, {})


def test_the_container_is_what_kserve_asks_for(runtime, container):
    assert container["name"] == "kserve-container"
    assert runtime["protocolVersions"] == ["v1", "v2", "grpc-v2"]
    assert runtime["annotations"]["prometheus.kserve.io/path"] == "/metrics"


@pytest.mark.parametrize("file", ["runtime.yaml", "transformer.yaml"])
def test_containers_can_do_nothing_but_serve(file):
    text = (FOLDER / file).read_text()
    assert "readOnlyRootFilesystem: true" in text
    assert "allowPrivilegeEscalation: false" in text
    assert "runAsNonRoot: true" in text
    assert "drop: [ALL]" in text


def test_only_one_format_of_a_name_and_version_and_every_one_has_a_runtime(runtime):
    formats = [(each["name"], each["version"]) for each in runtime["supportedModelFormats"]]
    assert len(formats) == len(set(formats))
    assert {name for name, _ in formats} == {
        "onnx", "sklearn", "xgboost", "lightgbm", "pytorch", "dragoman",
    }  # fmt: skip


def test_the_transformer_s_program_is_a_model_that_prepares(tmp_path, monkeypatch):
    configuration, service = documents("transformer.yaml")
    program = tmp_path / "transformer.py"
    program.write_text(
        configuration["data"]["transformer.py"].replace("from kserve", "from dragoman.compat.kserve")
    )
    monkeypatch.setattr("sys.argv", [str(program)])
    names = runpy.run_path(str(program), run_name="imported")
    import asyncio

    rows = {"instances": [[1.0, 2.0]]}
    assert asyncio.run(names["Centimetres"]("iris").preprocess(rows)) == {"instances": [[2.54, 5.08]]}
    command = service["spec"]["transformer"]["containers"][0]["command"]
    assert shlex.join(command[:4]) == "dragoman run --as kserve"
    assert os.path.basename(command[-1]) in configuration["data"]
