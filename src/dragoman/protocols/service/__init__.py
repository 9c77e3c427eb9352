"""Typed services: the paths that users' classes and functions declare. The classes themselves run in workers."""
