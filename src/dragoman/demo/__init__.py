"""``dragoman demo``: real models, real inputs, every dialect, in one command."""

from dragoman.demo.command import run

__all__ = ["run"]
