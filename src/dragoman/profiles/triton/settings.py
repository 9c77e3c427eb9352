"""From tritonserver's flags to settings, or the sentence that says what was expected. Reads no file."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

from dragoman.config import CacheSettings, GrpcSettings, LimitSettings, LogSettings, ServerSettings, Settings
from dragoman.errors import ConfigError
from dragoman.profiles.triton.flags import BY_NAME, Flag
from dragoman.profiles.use import Use
from dragoman.transport.auth import Permissions, Restriction, parse_restriction
from dragoman.transport.restricting import PREFIX, Restrictions

#: What was given, by name: every value in its order, "" where a flag takes none.
Given = Mapping[str, Sequence[str]]
T = TypeVar("T")

_WORDS: Final = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_LEVELS: Final = ("none", "low", "medium", "high")
_PORTS: Final = (0, 65_535)
#: Caches and what can be said of each.
_CACHES: Final = {
    "local": ("size",),
    "redis": ("host", "port", "user", "password", "tls_enabled"),
}


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """``root`` is empty where clients need no certificate."""

    cert: str
    key: str
    root: str


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on; ``shared`` lets other servers do so, too."""

    host: str
    port: int
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the flags say. Where something is ``None`` there is no such port, or no TLS."""

    settings: Settings
    repositories: tuple[str, ...]
    strict: bool  #: stop if one fails to load
    http: Listen | None
    grpc: Listen | None
    metrics: Listen | None
    certificates: CertificateFiles | None
    restrictions: Restrictions
    warnings: tuple[str, ...]  #: one line for each flag that this version can't do
    notes: tuple[str, ...]  #: and for each that means nothing here


def read(given: Given) -> Configuration:
    """The configuration. Raises ConfigError."""
    of = _Values(given)
    repositories = (*of.texts("model-repository"), *of.texts("model-store"))
    if not repositories:
        raise ConfigError("serve what?", hint="--model-repository names a folder of models")
    http = of.listen("http", "reuse-http-port")
    grpc = of.listen("grpc", "reuse-grpc-port")
    return Configuration(
        settings=_settings(of, http, grpc),
        repositories=repositories,
        strict=of.boolean("exit-on-error"),
        http=http if of.boolean("allow-http") else None,
        grpc=grpc if of.boolean("allow-grpc") else None,
        metrics=_metrics(of, http) if of.boolean("allow-metrics") else None,
        certificates=_certificates(of),
        restrictions=_restrictions(of),
        warnings=tuple(_tell(given, Use.LATER)),
        notes=tuple(_tell(given, Use.NOTHING)),
    )


def _settings(of: "_Values", http: Listen, grpc: Listen) -> Settings:
    mode = of.choice("model-control-mode", ("none", "poll", "explicit"))
    level = "info" if of.boolean("log-info") else "warning" if of.boolean("log-warning") else "error"
    return Settings(
        server=ServerSettings(
            host=http.host,
            port=http.port,
            grpc=of.boolean("allow-grpc"),
            grpc_port=grpc.port,
            grace=of.integer("exit-timeout-secs"),
            client_shm=of.boolean("allow-client-shm"),
            control=mode,
            poll_interval=of.integer("repository-poll-secs", least=1),
            load_model=_models(of) if mode == "explicit" else (),
        ),
        limits=LimitSettings(body_bytes=of.integer("http-max-input-size")),
        grpc=GrpcSettings(
            compression=of.choice("grpc-infer-response-compression-level", _LEVELS),
            keepalive_time=of.milliseconds("grpc-keepalive-time"),
            keepalive_timeout=of.milliseconds("grpc-keepalive-timeout"),
            keepalive_without_calls=of.boolean("grpc-keepalive-permit-without-calls"),
            max_pings_without_data=of.integer("grpc-http2-max-pings-without-data"),
            min_ping_interval=of.milliseconds("grpc-http2-min-recv-ping-interval-without-data", least=0),
            max_ping_strikes=of.integer("grpc-http2-max-ping-strikes"),
            connection_age=of.milliseconds("grpc-max-connection-age"),
            connection_age_grace=of.milliseconds("grpc-max-connection-age-grace"),
        ),
        log=LogSettings(level="debug" if of.integer("log-verbose") else level),
        cache=_cache(of),
    )


def _cache(of: "_Values") -> CacheSettings:
    """Without a word of a cache there is none, whatever models want."""
    told: dict[str, dict[str, str]] = {}
    for text in of.texts("cache-config"):
        name, _, option = text.partition(",")
        key, equals, value = option.partition("=")
        known = _CACHES.get(name)
        if known is None or not equals or key not in known:
            raise ConfigError(
                f"--cache-config must be like local,size=1048576 or redis,host=localhost, got {text!r}"
            )
        told.setdefault(name, {})[key] = value
    size = told.get("local", {}).get("size", of.text("response-cache-byte-size"))
    if not re.fullmatch("[0-9]{1,18}", size):
        raise ConfigError(f"the cache's size must be a whole number of bytes, got {size!r}")
    if int(size) and "redis" in told:
        raise ConfigError("there is one cache: --cache-config is local or redis, not both")
    return CacheSettings(size=int(size), redis=_redis_url(told["redis"]) if "redis" in told else "")


def _redis_url(said: Mapping[str, str]) -> str:
    if "host" not in said:
        raise ConfigError("--cache-config=redis needs redis,host=...")
    user, password = (quote(said.get(key, ""), safe="") for key in ("user", "password"))
    who = f"{user}:{password}@" if user or password else ""
    scheme = "rediss" if said.get("tls_enabled", "").lower() == "true" else "redis"
    return f"{scheme}://{who}{said['host']}:{said.get('port', '6379')}"


def _models(of: "_Values") -> tuple[str, ...]:
    names = of.texts("load-model")
    if "*" in names and names != ("*",):
        raise ConfigError("--load-model=* can't go with another --load-model")
    return names


def _metrics(of: "_Values", http: Listen) -> Listen:
    return Listen(of.text("metrics-address") or http.host, of.integer("metrics-port", *_PORTS))


def _certificates(of: "_Values") -> CertificateFiles | None:
    mutual = of.boolean("grpc-use-ssl-mutual")
    if not mutual and not of.boolean("grpc-use-ssl"):
        return None
    files = [of.text(f"grpc-{name}") for name in ("server-cert", "server-key", "root-cert")]
    needed = files if mutual else files[:2]
    if not all(needed):
        flags = "--grpc-server-cert and --grpc-server-key" + (" and --grpc-root-cert" if mutual else "")
        raise ConfigError(f"TLS for gRPC needs {flags}")
    return CertificateFiles(files[0], files[1], files[2] if mutual else "")


def _restrictions(of: "_Values") -> Restrictions:
    def permissions(name: str, prefix: str) -> Permissions:
        try:
            restrictions: list[Restriction] = [parse_restriction(each, prefix) for each in of.texts(name)]
            return Permissions(restrictions)
        except ValueError as error:
            raise ConfigError(f"--{name}: {error}") from None

    return Restrictions(
        permissions("http-restricted-api", ""), permissions("grpc-restricted-protocol", PREFIX)
    )


def _tell(given: Given, use: Use) -> list[str]:
    """A line for each flag of this use that was given and says something else than what is the case anyway."""
    return [
        f"{flag.spelling} is {use.value}: {flag.meaning}"
        for name, values in given.items()
        if (flag := BY_NAME[name]).use is use and (not flag.default or any(_differs(flag, v) for v in values))
    ]


def _differs(flag: Flag, value: str) -> bool:
    if flag.kind == "bool":
        return _WORDS.get(value.lower()) is not _WORDS[flag.default]
    return value != flag.default


class _Values:
    """The flags' values by type; what was not given has its default."""

    def __init__(self, given: Given) -> None:
        self._given = given

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._given.get(name, ()))

    def text(self, name: str) -> str:
        return self._given[name][-1] if name in self._given else BY_NAME[name].default

    def boolean(self, name: str) -> bool:
        return self._read(name, "true or false", lambda text: _WORDS[text.lower()])

    def integer(self, name: str, least: int = 0, most: float = math.inf) -> int:
        """Whole numbers, by default none below zero."""

        def convert(text: str) -> int:
            if not least <= (number := int(text)) <= most:
                raise ValueError
            return number

        limit = f"from {least} to {most}" if most < math.inf else f"from {least} on"
        return self._read(name, f"a whole number {limit}", convert)

    def milliseconds(self, name: str, least: int = 1) -> float:
        """In seconds; 0 where there is neither a value nor a default."""
        return self.integer(name, least) / 1000 if self.text(name) else 0.0

    def choice(self, name: str, choices: Sequence[str]) -> str:
        return self._read(name, "one of " + ", ".join(choices), lambda text: choices[choices.index(text)])

    def listen(self, name: str, shared: str) -> Listen:
        port = self.integer(f"{name}-port", *_PORTS)
        return Listen(self.text(f"{name}-address"), port, self.boolean(shared))

    def _read(self, name: str, expected: str, convert: Callable[[str], T]) -> T:
        text = self.text(name)
        try:
            return convert(text)
        except (ValueError, KeyError):
            raise ConfigError(f"--{name} must be {expected}, got {text!r}") from None
