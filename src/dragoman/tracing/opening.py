"""Makes the tracer that the settings ask for; without a collector OpenTelemetry is never imported."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dragoman.config import TracingSettings
from dragoman.errors import ConfigError

if TYPE_CHECKING:
    from dragoman.tracing.tracer import Tracer


def open_tracer(settings: TracingSettings, version: str) -> "Tracer | None":
    """Raises ConfigError for a URL that is none, or where the extra is not installed."""
    if not settings.endpoint:
        return None
    parts = urlsplit(settings.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"tracing.endpoint is no URL: {settings.endpoint!r}",
            hint="write it as in http://localhost:4318/v1/traces",
        )
    try:
        from dragoman.tracing.tracer import Tracer
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "opentelemetry":
            raise
        hint = "pip install 'dragoman[otel]'"
        raise ConfigError("tracing needs OpenTelemetry, which is not installed", hint=hint) from error
    return Tracer(settings, version)
