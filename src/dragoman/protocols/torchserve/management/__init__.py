"""TorchServe's management API."""

from dragoman.protocols.torchserve.management.http import Http
from dragoman.protocols.torchserve.management.requests import Page, Registration, Scaling
from dragoman.protocols.torchserve.management.service import Document, Models, Said

__all__ = ["Document", "Http", "Models", "Page", "Registration", "Said", "Scaling"]
