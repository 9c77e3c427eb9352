"""Servers for the tests of faults."""

import pytest

from tests.workers.faulty import Front, served


@pytest.fixture
def one(tmp_path):
    """The faulty model with one worker."""
    with served(tmp_path) as server:
        yield server


@pytest.fixture
def front(tmp_path):
    """The steady model with two workers, behind the real command."""
    with Front(tmp_path, instances=2) as server:
        yield server
