"""Handlers for PyTorch models: to use as they are or to derive from."""
