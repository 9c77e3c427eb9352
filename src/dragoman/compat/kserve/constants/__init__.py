"""KServe's constants, under the names that model files import."""
