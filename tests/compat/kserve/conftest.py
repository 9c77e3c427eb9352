"""Each test speaks a dialect, and leaves the process as it was."""

import pytest

from dragoman.compat.kserve import context, dialect


@pytest.fixture(autouse=True)
def speaks_as_it_did():
    before = dialect.spoken()
    yield
    dialect.choose(before)
    context.set_predictor_config(None)


@pytest.fixture
def old():
    """KServe 0.13, to the letter of its reference page."""
    dialect.choose("0.13")


@pytest.fixture
def new():
    """KServe 0.21, as under the name ``kserve``."""
    dialect.choose("0.21")
