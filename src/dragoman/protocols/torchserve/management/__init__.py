"""TorchServe's management API."""

from dragoman.protocols.torchserve.management.http import Http
from dragoman.protocols.torchserve.management.requests import (
    Page,
    Registration,
    Scaling,
    WorkflowRegistration,
)
from dragoman.protocols.torchserve.management.service import Document, Models, Said, Workflows
from dragoman.protocols.torchserve.management.workflows import WorkflowHttp

__all__ = [
    "Document",
    "Http",
    "Models",
    "Page",
    "Registration",
    "Said",
    "Scaling",
    "WorkflowHttp",
    "WorkflowRegistration",
    "Workflows",
]
