import pytest

from dragoman.testing import TestClient
from tests.clients.models import Broken, Echo, Labelled, Slow
from tests.conformance.models import Iris


@pytest.fixture(scope="package")
def server():
    """A live server with a model that echoes anything, one of rows with labels, and a slow one."""
    with TestClient(Echo, Labelled, Iris, Slow) as client:
        yield client


@pytest.fixture(scope="package")
def broken_server():
    """A live server of which one model could not be loaded."""
    with TestClient(Echo, Broken, strict=False) as client:
        yield client
