"""TorchServe's configuration, command line, keys and ports over Dragoman's engine."""
