"""The state in a file: damaged, cut, empty, foreign, read-only, on a full disk, and made by several at once."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dragoman.errors import ConfigError, NotReady, ReadOnly, StateUnreadable, StorageFailed
from dragoman.store import Model, Version, open_store
from dragoman.store.database import Store, open_database
from dragoman.store.migrations import MIGRATIONS, Migration
from dragoman.transport.status import STATUS
from tests.store.test_database import IRIS, TWO, fail

Open = Callable[[str | Path], Store]


def filled(file: Path, models: int = 12) -> tuple[Model, ...]:
    """A state of several pages, closed."""
    store = open_store(file)
    for number in range(models):
        settings = {"note": f"{number} " * 200}
        version = Version(version="1", path=f"/models/{number}", settings=settings)
        store.save(Model(name=f"m{number}", versions=(version,), default="1"), who="ann", what="register")
    kept = store.models()
    store.close()
    return kept


def read(file: Path) -> tuple[Model, ...]:
    with closing(open_store(file)) as store:
        return store.models()


def test_a_new_state_is_its_owners_alone_and_in_one_piece(file: Path) -> None:
    umask = os.umask(0)
    try:
        filled(file)
    finally:
        os.umask(umask)
    assert os.listdir(file.parent) == [file.name]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_place_may_be_written_as_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = filled(tmp_path / "ä state#1?.db")
    assert read(tmp_path / "ä state#1?.db") == saved
    (tmp_path / "ä state#1?.db").rename(tmp_path / "ä state.db")
    monkeypatch.chdir(tmp_path)
    for where in ("ä state.db", "sqlite:///ä state.db", f"sqlite:///{tmp_path}/ä state.db"):
        with closing(open_store(where)) as store:
            assert store.models() == saved


def test_changes_do_not_stay_in_the_log(file: Path, open_: Open) -> None:
    store = open_(file)
    saved = store.save(IRIS, who="ann", what="register")
    assert file.with_name("state.db-wal").stat().st_size == 0
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    assert read(copy) == (saved,)


def test_every_connection_is_as_safe_as_sqlite_can_be(file: Path, open_: Open) -> None:
    with open_(file)._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}


def test_no_damage_anywhere_is_taken_for_a_state(file: Path) -> None:
    kept = filled(file)
    whole = file.read_bytes()
    generator = random.Random(7)
    offsets = [*range(0, 100, 7), *(generator.randrange(len(whole)) for _ in range(150))]
    told = 0
    for offset in offsets:
        damaged = bytearray(whole)
        damaged[offset : offset + 8] = generator.randbytes(8)
        file.write_bytes(damaged)
        try:
            now = read(file)
        except StateUnreadable:
            told += 1
        else:
            assert now == kept  # it hit what nobody reads
        for suffix in ("-wal", "-shm", "-journal"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    assert told > len(offsets) / 3


def test_a_state_that_was_cut_is_no_state(file: Path) -> None:
    filled(file)
    whole = file.read_bytes()
    generator = random.Random(8)
    for size in (0, 1, 50, 99, 100, 512, 4096, *(generator.randrange(len(whole)) for _ in range(25))):
        file.write_bytes(whole[:size])
        with pytest.raises(StateUnreadable):
            open_store(file)
    file.write_bytes(whole)
    assert len(read(file)) == 12


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"[state]\n", b"SQLite format 3\0" + b"x" * 5000])
def test_another_file_is_not_touched(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(StateUnreadable):
        open_store(file)
    assert file.read_bytes() == content


def test_an_empty_file_is_not_taken_for_a_new_state(file: Path) -> None:
    file.touch()
    with pytest.raises(StateUnreadable, match="empty"):
        open_store(file)


def test_damage_is_found_in_every_table_and_index(file: Path) -> None:
    filled(file)
    with closing(sqlite3.connect(file)) as connection:
        roots = connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    whole = file.read_bytes()
    assert len(roots) >= 7
    astray = 0
    for name, page in roots:
        file.write_bytes(whole[: (page - 1) * size] + bytes(size) + whole[page * size :])
        with pytest.raises(StateUnreadable):
            open_store(file)
        if name.startswith("sqlite_autoindex") and b"m3" in whole[(page - 1) * size : page * size]:
            at = whole.index(b"m3", (page - 1) * size)
            file.write_bytes(whole[:at] + b"m4" + whole[at + 2 :])  # an index that leads astray
            with pytest.raises(StateUnreadable, match="index"):
                open_store(file)
            astray += 1
    assert astray


def test_another_programs_database_is_not_touched(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = file.read_bytes()
    with pytest.raises(StateUnreadable, match="not one of Dragoman's"):
        open_store(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_log_without_its_database_is_no_new_beginning(file: Path, suffix: str) -> None:
    file.with_name(file.name + suffix).write_bytes(b"changes")
    with pytest.raises(StateUnreadable, match="missing"):
        open_store(file)
    assert not file.exists()


def test_what_a_killed_process_left_of_a_new_state_is_no_hindrance(file: Path) -> None:
    for suffix in ("", "-wal", "-journal", "-shm"):
        file.with_name(f".{file.name}.new{suffix}").write_bytes(b"half")
    kept = filled(file)
    assert read(file) == kept
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("where", ["", "missing/state.db"])
def test_a_place_without_a_folder_or_that_is_one_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(ConfigError):
        open_store(tmp_path / where)


def test_a_log_that_is_cut_anywhere_gives_a_state_that_once_was(file: Path) -> None:
    with closing(open_store(file)) as store, closing(sqlite3.connect(file)) as reader:
        states = [store.models()]
        model = store.save(IRIS, who="ann", what="register")
        states.append(store.models())
        reader.execute("BEGIN")  # who reads an older state keeps the log from being settled
        reader.execute("SELECT * FROM dragoman_models").fetchall()
        for number in range(4):
            versions = (*model.versions, replace(TWO, version=f"2.{number}"))
            model = store.save(replace(model, versions=versions), who="ann", what="add")
            states.append(store.models())
        shutil.copy(file, file.with_name("whole.db"))
        log = file.with_name("state.db-wal").read_bytes()
        reader.execute("ROLLBACK")
    seen = set()
    copy = file.with_name("cut.db")
    for size in {len(log), *random.Random(9).sample(range(len(log)), 60)}:
        shutil.copy(file.with_name("whole.db"), copy)
        file.with_name("cut.db-wal").write_bytes(log[:size])
        state = read(copy)
        assert state in states
        seen.add(states.index(state))
    assert seen == {1, 2, 3, 4, 5}


# Folders that can only be read


@contextlib.contextmanager
def only_reading() -> Iterator[None]:
    """Root may write everywhere: for a while this process is somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that everybody can get to; a test takes away the right to write."""
    folder = Path(tempfile.mkdtemp(prefix="closed-"))
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def test_a_state_in_a_folder_that_can_only_be_read_is_read(closed: Path) -> None:
    file = closed / "state.db"
    kept = filled(file)
    file.chmod(0o444)
    closed.chmod(0o555)
    before = file.read_bytes()
    with only_reading(), closing(open_store(file)) as store:
        assert store.read_only
        assert store.models() == kept
        assert store.previous("m0") is None
        assert len(store.history()) == 12
        for change in (
            lambda: store.save(replace(kept[0], shadow="1"), who="ann", what="shadow"),
            lambda: store.save(IRIS, who="ann", what="register"),
            lambda: store.remove(kept[0], who="ann"),
            lambda: store.rollback("m0", revision=1, who="ann"),
        ):
            with pytest.raises(ReadOnly, match="only be read") as refused:
                change()
            assert STATUS[refused.value.code] == 507
    assert file.read_bytes() == before
    assert os.listdir(closed) == ["state.db"]


def test_who_may_only_read_sees_what_others_write(closed: Path) -> None:
    file = closed / "state.db"
    with closing(open_store(file)) as writer:
        saved = writer.save(IRIS, who="ann", what="register")
        for path in closed.iterdir():
            path.chmod(0o444)
        closed.chmod(0o555)
        with only_reading():
            reader = open_store(file)
            assert reader.read_only
            assert reader.models() == (saved,)
        if os.geteuid() == 0:
            with closing(sqlite3.connect(file)) as slow:  # keeps the change in the log
                slow.execute("BEGIN")
                slow.execute("SELECT * FROM dragoman_models").fetchall()
                changed = writer.save(replace(saved, shadow="1"), who="ann", what="shadow")
                with only_reading():
                    assert reader.models() == (changed,)
        reader.close()
        closed.chmod(0o700)


def test_an_older_state_that_can_only_be_read_is_not_guessed_at(closed: Path) -> None:
    file = closed / "state.db"
    filled(file)
    file.chmod(0o444)
    closed.chmod(0o555)
    newer = (*MIGRATIONS, Migration(2, "never taken", fail))
    with only_reading(), pytest.raises(StateUnreadable, match="older"):
        open_database(file, newer)


def test_a_new_state_can_not_be_made_where_nothing_can(closed: Path) -> None:
    closed.chmod(0o555)
    with only_reading(), pytest.raises(ConfigError, match="can't be made"):
        open_store(closed / "state.db")


def test_a_state_that_can_not_even_be_read_is_told(closed: Path) -> None:
    filled(closed / "state.db")
    (closed / "state.db").chmod(0o000)
    closed.chmod(0o755)
    with only_reading(), pytest.raises(ConfigError, match="Permission denied") as refused:
        open_store(closed / "state.db")
    assert not isinstance(refused.value, StateUnreadable)


def test_a_log_that_could_not_be_taken_over_is_not_passed_over(closed: Path, file: Path) -> None:
    with closing(open_store(file)) as store, closing(sqlite3.connect(file)) as slow:
        saved = store.save(IRIS, who="ann", what="register")
        slow.execute("BEGIN")
        slow.execute("SELECT * FROM dragoman_models").fetchall()
        changed = store.save(replace(saved, shadow="1"), who="ann", what="shadow")
        for suffix in ("", "-wal"):  # what a killed server leaves, without its shared memory
            shutil.copy(f"{file}{suffix}", closed / f"state.db{suffix}")
            (closed / f"state.db{suffix}").chmod(0o444)
    closed.chmod(0o555)
    with only_reading(), pytest.raises(ConfigError) as refused:
        open_store(closed / "state.db")
    assert "can be written" in refused.value.hint
    closed.chmod(0o755)
    for path in closed.iterdir():
        path.chmod(0o644)
    assert read(closed / "state.db") == (changed,)


def test_a_state_that_somebody_changes_for_long_is_busy_not_damaged(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.store.sqlite.BUSY", 0.05)
    with closing(open_store(file)) as store, closing(sqlite3.connect(file)) as other:
        saved = store.save(IRIS, who="ann", what="register")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotReady, match="try again"):
            store.save(replace(saved, shadow="1"), who="ann", what="shadow")
        assert store.models() == (saved,)
        newer = (*MIGRATIONS, Migration(2, "never taken", fail))
        with pytest.raises(ConfigError, match="locked") as refused:
            open_database(file, newer)
        assert not isinstance(refused.value, StateUnreadable)
        other.execute("ROLLBACK")
        assert store.save(replace(saved, shadow="1"), who="ann", what="shadow").revision == 2


# Disks that are full

FULL = """
import errno, os, resource, sys
from dataclasses import replace
from pathlib import Path
from dragoman.errors import StorageFailed
from dragoman.store import Model, Version, open_store

file, limit = Path(sys.argv[1]), int(sys.argv[2])
store = open_store(file)
first = store.save(Model(name="m", versions=(Version(version="1"),), default="1"), who="ann", what="register")
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + limit, resource.RLIM_INFINITY))
kept, failed = first, 0
for number in range(200):
    version = Version(version="1", settings={"note": str(number) * 2_000})
    try:
        kept = store.save(replace(kept, versions=(version,)), who="ann", what="note")
    except StorageFailed as error:
        failed += 1
        assert store.models() == (kept,), "another state is seen"
        assert len(store.history(limit=1000)) == kept.revision
        if failed == 3:
            break
assert failed == 3, failed
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (file.parent / "ballast").unlink()
kept = store.save(replace(kept, shadow="1"), who="ann", what="shadow")
store.close()
again = open_store(file)
assert again.models() == (kept,)
print("kept", kept.revision)
"""


@pytest.mark.parametrize("limit", [4_096, 20_000, 100_000])
def test_a_file_that_may_not_grow_keeps_what_it_has(file: Path, limit: int) -> None:
    ran = subprocess.run([sys.executable, "-c", FULL, file, str(limit)], capture_output=True, text=True)
    assert ran.stdout.startswith("kept"), ran.stderr


def test_a_full_disk_keeps_what_it_has(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=700k none "$1" && truncate -s 0 "$1/ballast" && '
    script += 'head -c 300000 /dev/zero > "$1/ballast" && exec "$2" -c "$3" "$1/state.db" 0'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command[:4], "true"], capture_output=True).returncode
    ):
        pytest.skip("this machine gives no mounts of one's own")
    ran = subprocess.run([*command, tmp_path, sys.executable, FULL], capture_output=True, text=True)
    if "mount:" in ran.stderr:
        pytest.skip("this machine gives no mounts of one's own")
    assert ran.stdout.startswith("kept"), ran.stderr


def test_a_disk_without_room_for_a_new_state_is_told_and_has_nothing_of_it(file: Path) -> None:
    code = (
        "import resource, sys; from dragoman.store import open_store; from dragoman.errors import ConfigError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))\n"
        "try: open_store(sys.argv[1])\n"
        "except ConfigError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert "can't be made" in ran.stdout, ran.stderr
    assert not file.exists()
    assert filled(file)


def test_a_storage_failure_says_507() -> None:
    assert STATUS[StorageFailed("x").code] == 507


def test_a_server_that_keeps_no_state_does_not_import_sqlalchemy() -> None:
    code = (
        "import sys, dragoman.cli, dragoman.app, dragoman.store, dragoman.profiles.torchserve.snapshot\n"
        "assert 'sqlalchemy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_sqlalchemy_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("dragoman.store.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError) as refused:
        open_store(file)
    assert refused.value.hint == "pip install 'dragoman[store]'"
