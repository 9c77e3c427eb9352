"""Every setting, its default and its unit, and how the operator's file, environment and flags change it.

Knows no model, no port and no socket: it reads one TOML file and answers with frozen values.
"""

from dragoman.config.description import (
    Setting,
    describe,
    flag_name,
    secret_variables,
    sections,
    variable_name,
    without_password,
)
from dragoman.config.documents import fill, json_schema
from dragoman.config.loading import Loaded, load, model_settings, parse_toml, suggest
from dragoman.config.settings import (
    AuthSettings,
    CacheSettings,
    GrpcSettings,
    JobSettings,
    LimitSettings,
    LogSettings,
    ManagementSettings,
    ModelSettings,
    MonitoringSettings,
    OpenAISettings,
    PayloadSettings,
    PredictionSettings,
    ServerSettings,
    Settings,
    TracingSettings,
    setting,
)

__all__ = [
    "AuthSettings",
    "CacheSettings",
    "GrpcSettings",
    "JobSettings",
    "LimitSettings",
    "Loaded",
    "LogSettings",
    "ManagementSettings",
    "ModelSettings",
    "MonitoringSettings",
    "OpenAISettings",
    "PayloadSettings",
    "PredictionSettings",
    "ServerSettings",
    "Setting",
    "Settings",
    "TracingSettings",
    "describe",
    "fill",
    "flag_name",
    "json_schema",
    "load",
    "model_settings",
    "parse_toml",
    "secret_variables",
    "sections",
    "setting",
    "suggest",
    "variable_name",
    "without_password",
]
