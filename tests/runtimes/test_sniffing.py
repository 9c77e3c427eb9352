"""A file with a service in it is recognised by its text alone."""

import pytest

from dragoman.runtimes.table import guess

SERVICES = [
    "import dragoman\n@dragoman.service\nclass A: ...\n",
    "import dragoman as d\n@d.service(title='x')\nclass A: ...\n",
    "from dragoman import service\n@service\nclass A: ...\n",
    "from dragoman import service as svc\n@svc()\nclass A: ...\n",
    "import dragoman\ndef f(x: int) -> int: ...\napp = dragoman.service(f)\n",
    "import dragoman\n@dragoman.service\ndef f(x: int) -> int: ...\n",
]
OTHERS = [
    "class A:\n    def predict(self, x): ...\n",
    "import dragoman\nclass A: ...  # no service\n",
    "from other import service\n@service\nclass A: ...  # dragoman\n",
    "import dragoman\nservice = 1\n",
    "import dragoman\n@dragoman.service\nclass A(:\n",
    "raise SystemExit('dragoman service')\n",
]


@pytest.mark.parametrize("text", SERVICES)
def test_a_service_is_one(tmp_path, text):
    (tmp_path / "app.py").write_text(text)
    assert guess(tmp_path / "app.py") == "service"


@pytest.mark.parametrize("text", OTHERS)
def test_anything_else_is_a_class_as_before(tmp_path, text):
    (tmp_path / "app.py").write_text(text)
    assert guess(tmp_path / "app.py") == "python"


def test_a_file_that_can_not_be_read_is_none(tmp_path):
    assert guess(tmp_path / "nothing.py") == "python"
    (tmp_path / "big.py").write_text(SERVICES[0] + "#" * (1 << 20))
    assert guess(tmp_path / "big.py") == "python"
