"""The operator's metrics.yaml: which metrics there are, of which kind, in which unit and with which labels.

Reads one file. TorchServe's own one declares what ``metrics.torchserve`` has as defaults::

    ts_metrics:                    # the server's
      counter:
        - name: Requests2XX
          unit: Count
          dimensions: [Level, Hostname]
    model_metrics:                 # the handlers'; the host is added to their dimensions
      gauge:
        - name: HandlerTime
          unit: ms
          dimensions: [ModelName, Level]
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.metrics.torchserve import BACKEND, FRONTEND
from dragoman.model_metrics import GAUGE, KINDS, Declared, Value, is_sound
from dragoman.repository.model_yaml import parse_yaml

KEY: Final = "metrics_config"


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """What is declared. ``warnings`` are for the operator: what can't be as it says."""

    frontend: Mapping[str, Declared]
    backend: Mapping[str, Declared]
    warnings: tuple[str, ...] = ()


DEFAULT: Final = MetricsFile(FRONTEND, BACKEND)


def read_metrics_file(path: Path) -> MetricsFile:
    """Raises ConfigError for a file that can't be read or makes no sense."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{KEY} can't be read: {path}: {error.strerror}") from error
    document = parse_yaml(text, path.name)
    warnings: list[str] = []
    frontend = {}
    for name, declared in _declarations(document, "ts_metrics"):
        own = FRONTEND.get(name)
        if own is not None and declared.kind != own.kind:
            warnings.append(f"{KEY}: {name} is a {own.kind} here, not a {declared.kind}")
            declared = declared._replace(kind=own.kind)
        if own is not None and len(declared.labels) != len(own.labels):
            names = ", ".join(own.labels)
            warnings.append(
                f"{KEY}: {name} has no values, it needs {len(own.labels)} dimensions (such as {names})"
            )
        frontend[name] = declared
    return MetricsFile(frontend, dict(_declarations(document, "model_metrics")), tuple(warnings))


def _declarations(document: Mapping[str, Any], section: str) -> Iterator[tuple[str, Declared]]:
    kinds = document.get(section) or {}
    if not isinstance(kinds, dict):
        raise ConfigError(f"{KEY}: {section} must be a mapping, got {kinds!r:.40}")
    for kind, metrics in kinds.items():
        if kind not in KINDS:
            raise ConfigError(f"{KEY}: {section} has no {kind!r:.40}", hint=f"it may have {', '.join(KINDS)}")
        if not isinstance(metrics or [], list):
            raise ConfigError(f"{KEY}: {kind} of {section} must be a list, got {metrics!r:.40}")
        for metric in metrics or []:
            yield _read(metric, kind, section)


def _read(metric: Any, kind: str, section: str) -> tuple[str, Declared]:
    said = metric if isinstance(metric, dict) else {}
    name, unit, labels = said.get("name"), said.get("unit"), said.get("dimensions") or []
    if not isinstance(name, str) or not isinstance(unit, str) or not isinstance(labels, list):
        raise ConfigError(f"{KEY}: a {kind} of {section} needs name, unit and dimensions, got {metric!r:.80}")
    if not is_sound(Value(name, GAUGE, unit, tuple((str(label), "") for label in labels), 0.0)):
        raise ConfigError(
            f"{KEY}: {name!r:.80} can't be a metric with dimensions {labels!r:.80}",
            hint="names are letters, digits and underscores",
        )
    return name, Declared(kind, unit, tuple(map(str, labels)))
