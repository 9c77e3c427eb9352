"""An authority that signs certificates for tests, made with openssl."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """A certificate and its key, both PEM files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates with a certificate of its own, ``cert``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        self.cert, self._key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.cert,
        )  # fmt: skip

    def sign(self, name: str, days: int = 2) -> Pair:
        """A certificate for ``localhost``; with negative ``days`` it has expired."""
        pair = Pair(self._folder / f"{self.name}-{name}.pem", self._folder / f"{self.name}-{name}-key.pem")
        request = self._folder / "request.pem"
        more = self._folder / "more.cnf"
        more.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request,
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial",
            "-days", str(days), "-extfile", more, "-out", pair.cert,
        )  # fmt: skip
        return pair


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
