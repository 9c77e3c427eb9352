"""The image: hadolint has nothing against it, and what it copies and installs is there."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from dragoman.config import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text()


def test_hadolint_has_nothing_against_it():
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hadolint = shutil.which("hadolint", path=places)
    if hadolint is None:
        pytest.skip("hadolint is not installed: make test RAY=1 brings it")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_copies_is_there_and_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--)(.+)$", TEXT, re.M) for name in line.split()[:-1]}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_its_extras_are_the_package_s():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    chosen = re.search(r"^ARG EXTRAS=(.+)$", TEXT, re.M)[1].split(",")
    assert set(chosen) <= set(extras)
    assert not any(
        library in each for extra in chosen for each in extras[extra] for library in ("torch", "ray[")
    )


def test_its_variables_are_settings_and_nobody_in_it_is_root():
    variables = dict(re.findall(r"(DRAGOMAN_\w+)=(\S+)", TEXT))
    assert load(None, variables, {}).settings.server.host == "0.0.0.0"
    assert re.findall(r"^USER (.+)$", TEXT, re.M) == ["10001:10001"]


def test_compose_serves_on_this_machine_only_and_writes_nothing():
    service = yaml.safe_load((DOCKERFILE.parent / "compose.yaml").read_text())["services"]["dragoman"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
    assert (DOCKERFILE.parent / service["build"]["context"]).resolve() == ROOT
