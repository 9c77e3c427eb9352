"""Fetches beside an event loop, and what cancelling them leaves: nothing."""

import asyncio
import socket
import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest

from dragoman.errors import DownloadFailed
from dragoman.repository.sources import Effort, Egress, Fetched, Sources, fetch

from .hosts import PATIENCE, Host, listing, text, unchanged


def test_a_fetch_runs_beside_the_loop_and_tells_its_progress_there(sources: Sources, host: Host) -> None:
    host.answers["/x.mar"] = text(200, b"x" * 100_000)

    async def run() -> None:
        loop = threading.get_ident()
        told: list[int] = []

        def progress(done: int, total: int | None) -> None:
            assert threading.get_ident() == loop
            told.append(done)

        def check(path: Path) -> None:
            assert threading.get_ident() != loop

        fetched = await fetch(sources, f"{host.base}/x.mar", progress=progress, check=check)
        assert fetched.size == 100_000
        await asyncio.sleep(0)
        assert told[-1] == 100_000

    asyncio.run(run())


def test_its_failure_is_the_callers(sources: Sources, host: Host) -> None:
    with pytest.raises(DownloadFailed):
        asyncio.run(fetch(sources, f"{host.base}/x.mar"))


class Half:
    """A host that stops in the middle, and knows when its client has gone."""

    def __init__(self, host: Host, head: bytes) -> None:
        self.base = host.base
        self.asked = threading.Event()
        self.left = threading.Event()
        self._head = head
        host.answers["/x.mar"] = self

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(self._head)
        self.asked.set()
        if connection.recv(1) == b"":
            self.left.set()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\nContent-", b""]
)
def test_cancelling_ends_the_connection_and_leaves_nothing(
    sources: Sources, host: Host, store: Path, head: bytes
) -> None:
    half = Half(host, head)

    async def run() -> None:
        task = asyncio.create_task(fetch(sources, f"{half.base}/x.mar"))
        assert await asyncio.to_thread(half.asked.wait, PATIENCE)
        with unchanged_but_incoming(store):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.to_thread(half.left.wait, PATIENCE)

    asyncio.run(run())


class unchanged_but_incoming:  # noqa: N801 - reads like unchanged
    """Only what has its name yet counts before; afterwards nothing else may be there."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._before = {
            name: file for name, file in listing(self._store).items() if not name.startswith(".incoming-")
        }

    def __exit__(self, *_: object) -> None:
        assert listing(self._store) == self._before


def test_cancelling_does_not_wait_for_a_name(sources: Sources, store: Path) -> None:
    asked, released = threading.Event(), threading.Event()

    def resolve(host: str) -> list[Any]:
        asked.set()
        released.wait(PATIENCE)
        return [ip_address("127.0.0.1")]

    async def run() -> None:
        slow = replace(sources, egress=Egress(resolve))
        task = asyncio.create_task(fetch(slow, "http://slow.example/x.mar"))
        assert await asyncio.to_thread(asked.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not released.is_set()

    try:
        with unchanged(store):
            asyncio.run(run())
    finally:
        released.set()


def test_cancelling_again_and_again_still_waits_for_the_end(
    sources: Sources, host: Host, store: Path
) -> None:
    half = Half(host, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async def run() -> None:
        task = asyncio.create_task(fetch(sources, f"{half.base}/x.mar"))
        assert await asyncio.to_thread(half.asked.wait, PATIENCE)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert sorted(listing(store)) == ["old.mar"]

    asyncio.run(run())


def test_what_was_complete_before_it_heard_is_taken_back(store: Path) -> None:
    class Late:
        """Finishes when it is cancelled, as a fetch does whose last step is done already."""

        def __init__(self) -> None:
            self.begun = threading.Event()
            self._effort = Effort(PATIENCE, PATIENCE)

        def effort(self) -> Effort:
            return self._effort

        def fetch(self, location: str, **_: Any) -> Fetched:
            heard = threading.Event()
            with self._effort.waking(heard.set):
                self.begun.set()
                assert heard.wait(PATIENCE)
            (store / "x.mar").write_bytes(b"complete")
            return Fetched(store / "x.mar", location, "", 8, new=True)

    async def run() -> None:
        late = Late()
        task = asyncio.create_task(fetch(cast(Sources, late), "http://a/x.mar"))
        assert await asyncio.to_thread(late.begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with unchanged(store):
        asyncio.run(run())
