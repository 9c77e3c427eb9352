import pytest

from dragoman.testing import TestClient
from tests.conformance.models import write_generate_repository, write_v1_repository, write_v2_repository

WRITERS = {
    "v2": write_v2_repository,
    "kserve": write_v1_repository,
    "generate": write_generate_repository,
}


@pytest.fixture(scope="package")
def servers(tmp_path_factory):
    """A live server for each folder of recordings, over models such as the recorded ones."""
    root = tmp_path_factory.mktemp("repositories")
    for name, write in WRITERS.items():
        write(root / name)
    with (
        TestClient(str(root / "v2"), strict=False) as v2,
        TestClient(str(root / "kserve"), strict=False) as kserve,
        TestClient(str(root / "generate")) as generate,
    ):
        yield {"v2": v2, "kserve": kserve, "generate": generate}
