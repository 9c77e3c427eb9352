"""Caches: one table of rules for all of them, and what is each one's own."""

import asyncio
import time

import numpy as np
import pytest

from dragoman.caching.entries import size_of
from dragoman.caching.memory import MemoryCache
from dragoman.caching.redis import open_redis
from dragoman.caching.remote import REST, RemoteCache
from dragoman.errors import ConfigError
from dragoman.stats import CacheStats
from dragoman.types import InferResponse, Tensor

from .servers import LIMIT, RedisServer


def answer(value=1.0, size=4, version="1"):
    return InferResponse("m", version, (Tensor("y", "FP32", np.full(size, value, np.float32)),))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("r"))
    server.start()
    yield server
    server.kill()


async def get(cache, key):
    found = asyncio.get_running_loop().create_future()
    cache.get(key, lambda answer, failed: found.set_result((answer, failed)))
    return await asyncio.wait_for(found, LIMIT)


async def value_of(cache, key):
    kept, failed = await get(cache, key)
    assert not failed
    return None if kept is None else float(kept.output("y").data[0])


@pytest.fixture(params=["memory", "redis"])
def make(request, redis_server):
    """Makes an empty cache, on the event loop; ``None`` is for ever."""

    def make_one(ttl=0.0):
        if request.param == "memory":
            return MemoryCache(1 << 20, ttl, time.monotonic)
        prefix = f"t{time.monotonic_ns()}"
        return RemoteCache(open_redis(redis_server.url, prefix, ttl, LIMIT), "redis")

    return make_one


def test_what_is_put_is_there_and_nothing_else(make):
    async def main():
        cache = make()
        assert await value_of(cache, b"a") is None
        cache.put(b"a", answer(1))
        cache.put(b"b", answer(2))
        cache.put(b"a", answer(3))
        assert [await value_of(cache, key) for key in (b"a", b"b", b"c")] == [3, 2, None]
        cache.close()

    asyncio.run(main())


def test_clearing_forgets_what_begins_so(make):
    async def main():
        cache = make()
        for key in (b"a*1", b"a*2", b"ab", b"b"):
            cache.put(key, answer())
        cache.clear(b"a*")
        assert [await value_of(cache, key) for key in (b"a*1", b"a*2", b"ab", b"b")] == [None, None, 1, 1]
        cache.clear()
        assert [await value_of(cache, key) for key in (b"ab", b"b")] == [None, None]
        cache.close()

    asyncio.run(main())


def test_a_kept_answer_is_as_it_was(make):
    async def main():
        cache = make()
        before = answer(7, 3, "12")
        before.parameters = {"k": [1, "two"]}
        cache.put(b"k", before)
        kept, _ = await get(cache, b"k")
        assert (kept.model, kept.version, kept.parameters) == ("m", "12", {"k": [1, "two"]})
        assert kept.output("y").data.tolist() == [7, 7, 7]
        cache.close()

    asyncio.run(main())


def test_in_memory_the_least_recently_used_goes_first():
    async def main():
        stats = CacheStats()
        room = 3 * (size_of(answer()) + 1)
        cache = MemoryCache(room, 0, Clock(), stats)
        for key in (b"1", b"2", b"3"):
            cache.put(key, answer())
        assert await value_of(cache, b"1") == 1
        cache.put(b"4", answer())
        assert [await value_of(cache, key) for key in (b"1", b"2", b"3", b"4")] == [1, None, 1, 1]
        assert (stats.entries, stats.evictions, stats.bytes) == (3, 1, room)
        cache.put(b"5", answer(size=10_000))  # bigger than all the room: no reason to let the others go
        assert stats.entries == 3
        assert await value_of(cache, b"5") is None
        cache.clear()
        assert (stats.entries, stats.bytes) == (0, 0)

    asyncio.run(main())


def test_in_memory_an_answer_is_kept_so_many_seconds():
    async def main():
        clock = Clock()
        cache = MemoryCache(1 << 20, 10, clock)
        cache.put(b"k", answer())
        clock.now += 9.9
        assert await value_of(cache, b"k") == 1
        clock.now += 0.1
        assert await value_of(cache, b"k") is None

    asyncio.run(main())


def test_in_redis_an_answer_has_its_time_from_the_server(redis_server):
    import redis

    async def main():
        cache = RemoteCache(open_redis(redis_server.url, "timed", 50, LIMIT), "redis")
        cache.put(b"k", answer())
        assert await value_of(cache, b"k") == 1
        cache.close()

    asyncio.run(main())
    with redis.Redis.from_url(redis_server.url) as client:
        assert 40_000 < client.pttl("timed:k") <= 50_000


def test_bytes_that_are_no_answer_are_a_failure_and_not_an_error(redis_server):
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.set("odd:k", b"nonsense")

    async def main():
        cache = RemoteCache(open_redis(redis_server.url, "odd", 0, LIMIT), "redis")
        assert await get(cache, b"k") == (None, True)
        cache.close()

    asyncio.run(main())


def test_a_dead_redis_is_a_failure_at_once_and_is_asked_again_later(tmp_path):
    server = RedisServer(tmp_path)
    server.start()

    async def main():
        clock = Clock()
        cache = RemoteCache(open_redis(server.url, "p", 0, 1.0), "redis", clock)
        cache.put(b"k", answer())
        assert await value_of(cache, b"k") == 1
        server.kill()
        assert await get(cache, b"k") == (None, True)
        cache.put(b"k", answer(2))  # dropped: nobody is there
        assert await get(cache, b"k") == (None, True)
        server.start()
        assert await get(cache, b"k") == (None, True)  # it rests
        clock.now += REST
        assert await get(cache, b"k") == (None, False)
        cache.put(b"k", answer(3))
        assert await value_of(cache, b"k") == 3
        cache.close()

    asyncio.run(main())
    server.kill()


def test_a_url_that_is_none_is_the_operator_s_mistake():
    with pytest.raises(ConfigError, match="no URL of a Redis server"):
        open_redis("http://example.org", "p", 0, 1)
