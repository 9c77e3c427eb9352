"""Triton's flags and ports over Dragoman's engine."""
