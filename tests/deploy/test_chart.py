"""The Helm chart, rendered by Helm itself and checked against Kubernetes' own models."""

import importlib.util
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dragoman import __version__
from dragoman.cli import app
from dragoman.config import load
from tests.deploy.strict import check

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "dragoman"
KINDS = {
    "ConfigMap": "V1ConfigMap",
    "Deployment": "V1Deployment",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "NetworkPolicy": "V1NetworkPolicy",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
}
EVERYTHING: dict[str, Any] = {
    "image": {"tag": "1.2.3"},
    "imagePullSecrets": [{"name": "registry"}],
    "targets": ["/models", "flowers=/models/iris.onnx"],
    "models": {"claim": {"size": "10Gi", "storageClassName": "fast"}},
    "config": {
        "server": {"grace": 60, "control": "poll", "poll_interval": 2.5},
        "models": {"max_batch": 1000000, "preferred_batch": [4, 8], "warmup": 1},
        "log": {"access": True},
    },
    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "envFrom": [{"secretRef": {"name": "s"}}],
    "volumes": [{"name": "more", "emptyDir": {}}],
    "volumeMounts": [{"name": "more", "mountPath": "/more"}],
    "autoscaling": {
        "enabled": True,
        "metrics": [
            {
                "type": "Pods",
                "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}},
            }
        ],
    },
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "networkPolicy": {
        "from": [{"namespaceSelector": {}}],
        "egress": [{"ports": [{"protocol": "TCP", "port": 443}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
}


@pytest.fixture(scope="module")
def helm():
    if importlib.util.find_spec("helm_python") is None and not os.environ.get("RAY"):
        pytest.skip("Helm's library is not installed: make test RAY=1 brings it")
    import helm_python

    return helm_python


@pytest.fixture
def render(helm):
    def render(values: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """Every object, by kind."""
        files = helm.Chart.load(str(CHART)).render(values, name="dragoman", namespace="models")
        texts = [text for file, text in files.items() if file.endswith(".yaml")]
        objects = [each for text in texts for each in yaml.safe_load_all(text) if each]
        return {each["kind"]: each for each in objects}

    return render


def container(objects: dict[str, Any]) -> dict[str, Any]:
    return objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def test_helm_finds_nothing_wrong_with_it(helm):
    found = helm.lint(str(CHART), EVERYTHING, strict=True)
    assert not found["errors"]
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_object_is_what_kubernetes_takes(render, values):
    objects = render(values)
    monitor = objects.pop("ServiceMonitor", None)  # of Prometheus' operator, which Kubernetes doesn't know
    for kind, document in objects.items():
        check(document, KINDS[kind])
    if values:
        assert set(objects) == set(KINDS)
        assert set(monitor["spec"]) == {"selector", "endpoints"}
        assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s"}]


def test_the_command_line_and_the_configuration_are_the_server_s_own(render, tmp_path):
    objects = render(EVERYTHING)
    text = objects["ConfigMap"]["data"]["dragoman.toml"]
    said = EVERYTHING["config"]
    own = {"auth": {"mode": "off"}, "log": {"format": "json", **said["log"]}}
    assert tomllib.loads(text) == {**said, **own}
    (tmp_path / "dragoman.toml").write_text(text)
    settings = load(tmp_path / "dragoman.toml", {}, {}).settings
    assert settings.models.preferred_batch == (4, 8)
    arguments = container(objects)["args"]
    assert arguments[:3] == ["serve", "/models", "flowers=/models/iris.onnx"]
    import typer

    serve = typer.main.get_command(app).commands["serve"]
    context = serve.make_context("serve", arguments[1:])
    assert context.params["server_port"] == "8080"
    assert context.params["server_grpc_port"] == "8081"


def test_the_pod_waits_longer_than_the_server_does(render):
    for values in ({}, {"config": {"server": {"grace": 300}}}, {"config": {}}):
        objects = render(values)
        pod = objects["Deployment"]["spec"]["template"]["spec"]
        grace = (
            tomllib.loads(objects["ConfigMap"]["data"]["dragoman.toml"]).get("server", {}).get("grace", 30)
        )
        assert pod["terminationGracePeriodSeconds"] > grace + 5


def test_a_changed_configuration_is_a_new_pod(render):
    def checksum(values):
        return render(values)["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) != checksum({"config": {"models": {"max_batch": 8}}})


def test_containers_can_do_nothing_but_serve_and_write_in_tmp(render):
    objects = render()
    found = container(objects)
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    writable = [mount["mountPath"] for mount in found["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/tmp"]


@pytest.mark.parametrize(
    ("models", "volume"),
    [
        ({"existingClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine", "readOnly": True}}),
        ({"volume": {"nfs": {"server": "a", "path": "/b"}}}, {"nfs": {"server": "a", "path": "/b"}}),
        ({}, None),
    ],
)
def test_models_come_from_where_the_values_say(render, models, volume):
    objects = render({"models": models})
    check(objects["Deployment"], "V1Deployment")
    volumes = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    found = [each for each in volumes if each["name"] == "models"]
    assert found == ([{"name": "models", **volume}] if volume else [])
    assert "PersistentVolumeClaim" not in objects


def test_values_that_nobody_knows_are_refused(helm):
    chart = helm.Chart.load(str(CHART))
    with pytest.raises(helm.HelmError, match="replica"):
        chart.render({"replica": 3})


def test_the_chart_and_the_images_have_the_version_of_the_package():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    for file in (CHART.parents[1] / "kserve").glob("*.yaml"):
        for line in file.read_text().splitlines():
            if "image: ghcr.io" in line:
                assert line.endswith(f":{__version__}")
