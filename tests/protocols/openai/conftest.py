"""A live server with the models that speak OpenAI's API."""

from collections.abc import Iterator

import openai
import pytest

from dragoman.testing import TestClient
from tests.protocols.openai.models import Blocking, Echo, Failing, Lengths


@pytest.fixture(scope="session")
def server() -> Iterator[TestClient]:
    with TestClient() as client:
        models = {
            "echo": Echo("echo"),
            "lengths": Lengths("lengths"),
            "failing": Failing("failing"),
            "blocking": Blocking(),
        }
        for name, model in models.items():
            client.call(lambda name=name, model=model: client.app.openai.add(name, model))
        yield client


@pytest.fixture
def client(server: TestClient) -> Iterator[openai.OpenAI]:
    """The unmodified client of OpenAI's."""
    with openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0) as client:
        yield client
