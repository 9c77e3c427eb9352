"""A model's own numbers."""
