"""Answers in a Redis server, for several servers together. Knows Redis, and of a key only its bytes.

redis-py is imported when a place is made, not before: it is an extra (``dragoman[redis]``).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from dragoman.errors import ConfigError

if TYPE_CHECKING:
    import redis

#: Keys that are removed at once.
_PAGE: Final = 1000


class RedisPlace:
    """A ``Place`` that blocks. Raises what redis-py raises."""

    def __init__(self, client: "redis.Redis", prefix: str, ttl: float) -> None:
        """``ttl`` in seconds; 0 leaves it to the server which keys go when its memory is full."""
        self._client: Any = client
        self._prefix = prefix.encode() + b":"
        self._expires = max(1, round(ttl * 1000)) if ttl else None

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        found: list[bytes | None] = self._client.mget([self._prefix + key for key in keys])
        return found

    def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key, entry in entries:
            pipeline.set(self._prefix + key, entry, px=self._expires)
        pipeline.execute()

    def clear(self, prefix: bytes) -> None:
        pattern = _literally(self._prefix + prefix) + b"*"
        page: list[bytes] = []
        for key in self._client.scan_iter(pattern, count=_PAGE):
            page.append(key)
            if len(page) == _PAGE:
                self._client.unlink(*page)
                page.clear()
        if page:
            self._client.unlink(*page)

    def close(self) -> None:
        self._client.close()


def open_redis(url: str, prefix: str, ttl: float, timeout: float) -> RedisPlace:
    """The place behind a URL, which is not asked yet. ``timeout`` in seconds. Raises ConfigError."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "redis":
            raise
        hint = "pip install 'dragoman[redis]'"
        raise ConfigError("cache.redis needs redis-py, which is not installed", hint=hint) from error
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # who waits for an answer would rather ask the model
            decode_responses=False,
        )
    except ValueError as error:
        raise ConfigError(f"cache.redis is no URL of a Redis server: {error}") from None
    return RedisPlace(client, prefix, ttl)


def _literally(text: bytes) -> bytes:
    """A pattern that matches this text and no other."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^-" else bytes([byte]) for byte in text)
