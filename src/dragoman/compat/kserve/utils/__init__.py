"""Small things that model files take from ``kserve.utils``."""
