"""``dragoman deploy ray``: what its own words mean; the cluster itself is in ``tests/ray``."""

import pytest

from dragoman.cli.deploy import _scale
from dragoman.cli.failure import Failure
from dragoman.config import load
from dragoman.errors import ConfigError
from tests.cli.running import dragoman


@pytest.mark.parametrize(
    ("replicas", "autoscale", "flags"),
    [
        (None, None, {}),
        (3, None, {"models.instances": "3"}),
        (None, "1:8", {"models.instances": "1", "models.max_instances": "8"}),
        (None, "0:2", {"models.instances": "0", "models.max_instances": "2"}),
    ],
)
def test_replicas_are_instances(replicas, autoscale, flags):
    assert _scale(replicas, autoscale) == flags


@pytest.mark.parametrize("autoscale", ["8", "8:1", "1:", "a:b", "0:0", "-1:2"])
def test_a_range_that_is_none_is_refused(autoscale):
    with pytest.raises(Failure, match="MIN:MAX"):
        _scale(None, autoscale)


def test_a_number_and_a_range_are_refused(tmp_path):
    done = dragoman("deploy", "ray", "app.py:Same", "--replicas", "2", "--autoscale", "1:2", cwd=tmp_path)
    assert (done.returncode, "not both" in done.stderr) == (2, True)


def test_several_front_ends_would_have_replicas_each():
    flags = {"models.execution": "ray", "server.processes": "2"}
    with pytest.raises(ConfigError, match="processes = 1"):
        load(None, {}, flags)
