"""What instances tell of themselves, and what becomes of one that never gets ready."""

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact
from dragoman.workers import pool

MODEL = """
import time
from pathlib import Path


class Slow:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"x": ("FP32", [-1])}

    def __init__(self, path):
        while (Path(path) / "shut").exists():
            time.sleep(0.02)

    def predict(self, x):
        return {"x": x}
"""


@asynccontextmanager
async def instances(folder, **settings):
    (folder / "model.py").write_text(MODEL)
    artifact = Artifact("slow", "1", folder, "model:Slow", trusted=True)
    started = await pool.start(artifact, "python", ModelSettings(**settings))
    try:
        yield started
    finally:
        ended = asyncio.Event()
        started.close(ended.set)
        await ended.wait()


def test_processes_tell_their_number_when_they_began_and_what_they_have(tmp_path):
    async def scenario():
        before = time.time()
        async with instances(tmp_path, instances=2) as processes:
            first, second = processes.reports
            assert (first.number, second.number) == (0, 1)
            assert first.ready
            assert second.ready
            assert before <= first.started <= time.time()
            assert first.memory > 1 << 20
            assert len({first.pid, second.pid, os.getpid()}) == 3
            await processes.add()
            assert [report.number for report in processes.reports] == [0, 1, 2]

    asyncio.run(scenario())


def test_threads_have_no_process_of_their_own(tmp_path):
    async def scenario():
        async with instances(tmp_path, instances=2, execution="thread") as threads:
            assert [(each.number, each.ready, each.pid) for each in threads.reports] == [
                (0, True, 0),
                (1, True, 0),
            ]

    asyncio.run(scenario())


def test_an_instance_that_lost_its_process_is_not_ready_until_another_has_loaded(tmp_path):
    async def scenario():
        async with instances(tmp_path) as processes:
            (before,) = processes.reports
            (tmp_path / "shut").touch()
            os.kill(before.pid, 9)
            while (report := processes.reports[0]).ready or report.pid in (0, before.pid):
                await asyncio.sleep(0.01)
            assert report.number == 0
            assert report.started > before.started
            (tmp_path / "shut").unlink()
            while not processes.reports[0].ready:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_load_that_takes_too_long_is_given_up(tmp_path):
    async def scenario():
        (tmp_path / "shut").touch()
        with pytest.raises(ConfigError, match=r"no answer within 0\.5 s while it loaded"):
            async with instances(tmp_path, load_timeout=0.5):
                pass

    asyncio.run(scenario())


def test_one_more_instance_that_takes_too_long_is_given_up_and_the_others_stay(tmp_path):
    async def scenario():
        async with instances(tmp_path, load_timeout=5.0) as processes:
            (tmp_path / "shut").touch()
            with pytest.raises(ConfigError, match="no answer within 5 s"):
                await processes.add()
            assert [report.ready for report in processes.reports] == [True]

    asyncio.run(scenario())
