"""Processes that take another's place, and loads that are given up: nothing is lost, and nothing stays behind."""

import asyncio
import os
import signal
import subprocess

import pytest

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact
from dragoman.workers import guard, pool, sweep
from tests.workers.faulty import MODEL, alive, served, until


def workers():
    """Every process that is one of this server's workers, or was started by one."""
    mark = guard.get().mark
    return [pid for pid in sweep.Search([mark]).run()[mark] if alive(pid)]


def test_a_model_that_dies_while_it_loads_says_so(tmp_path):
    (tmp_path / "broken").touch()
    with served(tmp_path, strict=False) as server:
        (record,) = server.client.app.engine.index()
        assert "exit code 7" in record.reason


def test_a_replacement_that_cannot_load_takes_nothing_away(tmp_path):
    """The worn-out process works on until there is one to replace it, and nobody notices."""
    with served(tmp_path, max_requests=1) as server:
        pid = server.value("pid")  # the replacement for this one loads already, or has loaded
        until(lambda: server.value("pid") != pid)
        (tmp_path / "broken").touch()
        until(lambda: server.works() and len(server.crashes) >= 2)
        for _ in range(20):
            assert server.works()
        (tmp_path / "broken").unlink()
        pid = server.value("pid")
        until(lambda: server.value("pid") != pid, 60)


def test_a_hang_while_the_replacement_is_ready_is_survived(tmp_path):
    with served(tmp_path, max_requests=2, response_timeout=2.0) as server:
        assert server.works()
        assert server.works()  # a replacement loads, and is ready before the hang is given up
        assert server.ask("hang").status == 504
        until(server.works)


def test_a_death_while_the_replacement_is_ready_is_survived(tmp_path):
    with served(tmp_path, max_requests=2) as server:
        pid = int(server.value("pid"))
        assert server.works()
        running = server.later(("sleep", 3600.0))
        until((tmp_path / "asleep").exists)
        until(lambda: len(workers()) == 2)
        os.kill(pid, signal.SIGKILL)
        running()
        until(server.works)


def test_unloading_while_a_replacement_loads_ends_both(tmp_path):
    with served(tmp_path, max_requests=1) as server:
        server.value("pid")
        server.unload()
        assert not workers()


def _start(folder, instances=1):
    (folder / "app.py").write_text(MODEL)
    artifact = Artifact("Faulty", "1", folder / "app.py", "app.py:Faulty", trusted=True)
    return pool.start(artifact, "python", ModelSettings(instances=instances))


def test_a_load_that_is_given_up_leaves_nothing(tmp_path):
    async def scenario():
        task = asyncio.create_task(_start(tmp_path, instances=2))
        while len(workers()) < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not workers()

    asyncio.run(scenario())


def test_where_no_process_can_be_started_the_load_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(11, "no process to spare")

    guard.get()

    async def scenario():
        before = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", refuse)
            with pytest.raises(ConfigError, match="no process to spare"):
                await _start(tmp_path, instances=2)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())
