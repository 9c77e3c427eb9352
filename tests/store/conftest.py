"""A state in each kind of database: SQLite in a file, and PostgreSQL where the machine has one."""

import getpass
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dragoman.store import open_store
from dragoman.store.database import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server of our own, behind a Unix socket. It refuses to run as root, so then it is somebody else."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("there is no PostgreSQL on this machine")
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    name = user or getpass.getuser()
    try:
        subprocess.run(
            ["initdb", "-D", folder / "data", "-A", "trust", "-U", name, "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, user=user, cwd=folder,
        )  # fmt: skip
        server = subprocess.Popen(
            ["postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, user=user, cwd=folder,
        )  # fmt: skip
        assert server.stderr is not None
        with server.stderr as lines:
            while b"ready to accept connections" not in (line := lines.readline()):
                assert line, "PostgreSQL ended"
            yield f"postgresql+psycopg://{name}@/postgres?host={folder}"
            server.terminate()
            lines.read()
        server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | Path]:
    """Where a state can be, with nothing there yet."""
    if request.param == "sqlite":
        yield tmp_path / "state.db"
        return
    server = sa.make_url(request.getfixturevalue("postgres"))
    name = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def open_() -> Iterator[Callable[[str | Path], Store]]:
    """Opens states, and closes them in the end."""
    opened: list[Store] = []

    def open_one(where: str | Path) -> Store:
        opened.append(open_store(where))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(place: str | Path, open_: Callable[[str | Path], Store]) -> Store:
    return open_(place)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"
