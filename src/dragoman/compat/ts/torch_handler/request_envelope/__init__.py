"""Envelopes: undress requests for a handler and dress its answers."""
