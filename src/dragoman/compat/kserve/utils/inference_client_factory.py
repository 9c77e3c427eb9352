"""Hands out clients, the same one for the same server and settings. Each belongs to the event loop it was made on."""

import asyncio
from typing import Any, Optional
from weakref import WeakKeyDictionary

from dragoman.compat.kserve.inference_client import find_client


class InferenceClientFactory:
    """There is one in a process."""

    _instance: Optional["InferenceClientFactory"] = None
    _clients: "WeakKeyDictionary[Any, dict[Any, Any]]"

    def __new__(cls) -> "InferenceClientFactory":
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._clients = WeakKeyDictionary()
        return cls._instance

    def get_grpc_client(self, url: str, **kwargs: Any) -> Any:
        """The gRPC client for a server. ``kwargs`` are the client's."""
        key = ("grpc", url, *sorted((name, str(value)) for name, value in kwargs.items()))
        return self._get(key, lambda: find_client("InferenceGRPCClient")(url, **kwargs))

    def get_rest_client(self, config: Any = None) -> Any:
        """The REST client for a configuration."""
        config = config or find_client("RESTConfig")()
        key = ("rest", *((name, str(value)) for name, value in vars(config).items()))
        return self._get(key, lambda: find_client("InferenceRESTClient")(config))

    async def close(self) -> None:
        """Close the clients of the running event loop; whoever asks again gets new ones."""
        for open_client in self._clients.pop(self._place(), {}).values():
            await open_client.close()

    def _get(self, key: Any, make: Any) -> Any:
        clients = self._clients.setdefault(self._place(), {})
        if key not in clients:
            clients[key] = make()
        return clients[key]

    def _place(self) -> Any:
        """The event loop we are on; outside of any, the factory itself."""
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            return self
