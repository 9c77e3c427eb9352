"""Recorded calls of TorchServe's gRPC services."""
