"""One Python model server that speaks every inference dialect its users already speak."""

__version__ = "0.1.0"
