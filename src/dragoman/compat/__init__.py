"""Import surfaces: what other people's model code imports, under the names it knows, written for Dragoman.

Know nothing of the server: a runtime puts a surface in place and calls the user's code.
"""

from dragoman.compat.alias import install

__all__ = ["install"]
