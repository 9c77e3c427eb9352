"""KServe's clients, under the name of the module where KServe has them. Each is imported when it is first wanted."""

from typing import Any, Final

from dragoman.compat.need import need

#: Where each name is, and the package that it needs.
_PLACES: Final = {
    "InferenceGRPCClient": ("dragoman.compat.kserve.grpc_client", "grpcio"),
    "InferenceRESTClient": ("dragoman.compat.kserve.rest_client", "httpx"),
    "RESTConfig": ("dragoman.compat.kserve.rest_config", "httpx"),
    "USE_CLIENT_DEFAULT": ("dragoman.compat.kserve.grpc_client", "grpcio"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return find_client(name)


def find_client(name: str) -> Any:
    """One of the clients' classes. Raises ImportError, which names the package and the extra, where that is missing."""
    module, package = _PLACES[name]
    need(package.removesuffix("io"), f"KServe's {name}", f"{package} (the extra dragoman[kserve])")
    return getattr(need(module, f"KServe's {name}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
