"""Serves one model of a file that imports ``kserve``, until its input ends: a process in which that is our surface.

``python -m tests.protocols.openai.serve FILE CLASS NAME`` prints the server's URL when it is ready.
"""

import importlib.util
import sys
from pathlib import Path

from dragoman.compat import install
from dragoman.testing import TestClient


def main(file: str, kind: str, name: str) -> None:
    install("kserve")
    sys.path.insert(0, str(Path(file).parent))
    spec = importlib.util.spec_from_file_location("served", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = getattr(module, kind)(name)
    model.load()
    with TestClient() as server:
        server.call(lambda: server.app.openai.add(name, model))
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
