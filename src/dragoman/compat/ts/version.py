"""The version of TorchServe's handler API that is offered here."""

__version__ = "0.12.0"
