"""Dragoman's own management API: what the other servers' APIs have, and what only this one does."""
