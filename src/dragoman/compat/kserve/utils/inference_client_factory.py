"""Hands out clients, the same one for the same server and settings. Each belongs to the event loop it was made on."""

import asyncio
from typing import Any, Optional
from weakref import WeakKeyDictionary

from dragoman.compat.kserve.inference_client import __getattr__ as client


class InferenceClientFactory:
    """There is one in a process."""

    _instance: Optional["InferenceClientFactory"] = None
    _clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Any]]"

    def __new__(cls) -> "InferenceClientFactory":
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._clients = WeakKeyDictionary()
        return cls._instance

    def get_grpc_client(self, url: str, **kwargs: Any) -> Any:
        """The gRPC client for a server. To be called on an event loop."""
        key = ("grpc", url, *sorted((name, str(value)) for name, value in kwargs.items()))
        return self._get(key, lambda: client("InferenceGRPCClient")(url, **kwargs))

    def get_rest_client(self, config: Any = None) -> Any:
        """The REST client for a configuration. To be called on an event loop."""
        config = config or client("RESTConfig")()
        key = ("rest", *((name, str(value)) for name, value in vars(config).items()))
        return self._get(key, lambda: client("InferenceRESTClient")(config))

    async def close(self) -> None:
        """Close the clients of the running event loop; whoever asks again gets new ones."""
        for open_client in self._clients.pop(asyncio.get_running_loop(), {}).values():
            await open_client.close()

    def _get(self, key: Any, make: Any) -> Any:
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        if key not in clients:
            clients[key] = make()
        return clients[key]
