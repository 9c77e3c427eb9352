"""The flags of KServe's agent, which keeps payloads beside a server, and the settings that mean the same."""

from collections.abc import Mapping
from typing import Final

FLAGS: Final[Mapping[str, str]] = {
    "--log-url": "payloads.url",
    "--log-mode": "payloads.mode",
    "--source-uri": "payloads.source",
    "--inference-service": "payloads.service",
    "--namespace": "payloads.namespace",
    "--component": "payloads.component",
    "--endpoint": "payloads.endpoint",
}
