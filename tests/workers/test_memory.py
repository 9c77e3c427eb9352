"""A model takes memory without end: it pays alone, and people are told that it was memory."""

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient
from tests.profiles.archives import write_archive
from tests.workers.faulty import Front, alive, exits_in, memory_of, refused_softly, served, until
from tests.workers.load import Load

CGROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20


def test_a_model_at_its_limit_ends_alone_and_memory_is_the_reason(tmp_path):
    """R4"""
    with Front(tmp_path, instances=2, max_memory="1GiB") as front:
        with Load(front.url) as load:
            until(lambda: len(load.answers) >= 40)
            before = memory_of(front.pid)
            (number,) = load.ask("oom")
            until(lambda: load.answer(number))
            until(lambda: len(front.workers) == 2)
            done = len(load.answers)
            until(lambda: len(load.answers) >= done + 40)
            assert abs(memory_of(front.pid) - before) <= 8 * MIB
        fatal = {n for note in front.journal if number in note.numbers for n in note.numbers}
        failed = [answer for answer in load.ledger() if answer.status != 200]
        assert {answer.number for answer in failed} == fatal
        for answer in failed:
            assert refused_softly(answer)
            assert "died (oom): out of memory: it reached its limit of 1024 MiB" in answer.body.decode()
        assert front.exits == {"oom": 1}
        assert [report["reason"] for report in front.crashes] == ["oom"]


def test_native_code_that_finds_no_memory_says_so(one):
    """R4: C++ throws, nobody catches, and the process aborts."""
    assert "died (oom)" in one.ask("oom_c").json()["error"]
    assert one.exits == {"oom": 1}


HANDLER = """
import os
kept = []

def handle(data, context):
    for row in data or ():
        while bytes(row["body"]) == b"more":
            kept.append(bytearray(1 << 24))
    return data and [str(os.getpid())] * len(data)
"""


def test_a_handler_answers_as_with_torchserve_and_its_process_is_replaced(tmp_path):
    """R4: 507 is TorchServe's word for it."""
    archive = write_archive(tmp_path, "hungry", HANDLER)
    settings = Settings(models=ModelSettings(max_memory=1 << 30))
    with TestClient(str(archive), settings=settings) as client:
        pid = client.request("POST", "/predictions/hungry", b"pid").body
        answer = client.request("POST", "/predictions/hungry", b"more")
        assert (answer.status, answer.json()["message"]) == (507, "Out of resources")
        until(lambda: client.request("POST", "/predictions/hungry", b"pid").body != pid)
        assert exits_in(client.get("/metrics").body.decode()) == {"recycled": 1}


def test_the_kernel_prefers_the_workers_when_memory_runs_out(front):
    """R4"""
    score = int(Path(f"/proc/{front.pid}/oom_score_adj").read_text())
    for pid in front.workers:
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == 500 > score


@contextmanager
def cgroup(limit):
    """A cgroup with this much memory, if this machine and this user can make one."""
    base, name = CGROUPS, "memory.max"
    if (CGROUPS / "memory").is_dir():
        base, name = CGROUPS / "memory", "memory.limit_in_bytes"
    group = base / f"dragoman-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no cgroup can be made here")
    try:
        try:
            (group / name).write_text(str(limit))
        except OSError:
            pytest.skip("memory can't be limited here")
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_the_kernels_kill_is_told_from_any_other(tmp_path):
    """R4: only where the kernel has counted a kill for memory is that the reason."""
    with cgroup(512 * MIB) as group, Front(tmp_path, cgroup=group) as front:
        with Load(front.url) as load:
            until(lambda: len(load.answers) >= 40)
            before = memory_of(front.pid)
            (number,) = load.ask("oom")
            answer = until(lambda: load.answer(number))
            until(lambda: front.workers)
            assert abs(memory_of(front.pid) - before) <= 8 * MIB
        assert refused_softly(answer)
        assert "died (oom): out of memory: the kernel killed it" in json.loads(answer.body)["error"]
        assert front.exits == {"oom": 1}

        (pid,) = front.workers
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        until(lambda: front.exits == {"oom": 1, "sigkill": 1})


def test_ten_workers_are_replaced_under_load_and_nobody_notices(tmp_path):
    """R10: ten megabytes are lost with every request; the processes are replaced between two of them."""
    with Front(tmp_path, instances=2, max_rss="120MB") as front:
        with Load(front.url, command="leak_10mb") as load:
            until(lambda: front.exits.get("recycled", 0) >= 10, 120)
        assert {answer.status for answer in load.ledger()} == {200}
        assert front.exits.keys() == {"recycled"}
        assert not front.crashes
        done = {}
        for note in front.journal:  # between two requests: what was begun was ended
            if note.event != "loaded":
                done.setdefault(note.pid, []).append(note.event)
        for events in done.values():
            assert events == ["began", "ended"] * (len(events) // 2)


@pytest.mark.parametrize("settings", [{"max_rss": 150_000_000}, {"max_requests": 3}], ids=str)
def test_batches_handed_ahead_survive_replacements(tmp_path, settings):
    """R10, for a model that answers too fast to be asked one by one."""
    with served(tmp_path, **settings) as server:
        statuses = set()
        pids = set()
        while len(pids) <= 5:
            asked = server.later(*[("leak_10mb",)] * 4)
            pids.add(server.value("pid"))
            statuses |= {answer.status for answer in asked()}
        assert statuses == {200}
        assert not server.crashes
        assert server.exits.keys() == {"recycled"}
