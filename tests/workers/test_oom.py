"""Where the kernel counts the processes that it kills for memory: read wherever this runs, and never guessed."""

import pytest

from dragoman.workers import oom

COUNTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"


@pytest.fixture
def machine(tmp_path):
    """A machine's files; ``write`` makes one more."""

    class Machine:
        root = tmp_path

        def write(self, name, text):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return path

        def counter(self):
            return oom.find_counter(tmp_path / "cgroup", tmp_path / "fs", tmp_path / "vmstat")

    return Machine()


@pytest.mark.parametrize(
    ("cgroup", "file"),
    [
        ("0::/\n", "fs/memory.events"),
        ("0::/system.slice/dragoman.service\n", "fs/system.slice/dragoman.service/memory.events"),
        ("4:memory:/docker/abc\n0::/\n", "fs/memory/docker/abc/memory.oom_control"),
        ("9:cpu,memory:/docker/abc\n", "fs/memory/memory.oom_control"),
    ],
    ids=str,
)
def test_the_cgroups_own_count_comes_before_the_machines(machine, cgroup, file):
    machine.write("cgroup", cgroup)
    machine.write("vmstat", "pgfault 5\noom_kill 99\n")
    path = machine.write(file, COUNTS.format(7))
    assert machine.counter() == path
    assert oom.count_kills(path) == 7
    path.write_text(COUNTS.format(8))
    assert oom.count_kills(path) == 8


def test_without_one_the_machine_counts(machine):
    machine.write("cgroup", "0::/\n")
    assert oom.count_kills(machine.counter()) is None
    path = machine.write("vmstat", "pgfault 5\noom_kill 99\nnr_oom_kill 3\n")
    assert machine.counter() == path
    assert oom.count_kills(path) == 99


def test_where_nobody_counts_there_is_no_evidence(machine):
    assert machine.counter() is None
    path = machine.write("vmstat", "pgfault 5\n")
    assert machine.counter() is None
    assert oom.count_kills(path) is None


def test_here_somebody_counts():
    assert oom.count_kills(oom.find_counter()) is not None
