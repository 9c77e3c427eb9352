"""How a command that can't go on says so: one ``error:`` line, a ``hint:`` line, an exit code."""

import sys
from typing import Final

FAILED: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 78  # EX_CONFIG of sysexits.h
INTERRUPTED: Final = 130  # 128 + SIGINT


class Failure(Exception):
    """Ends a command. ``code`` is its exit code."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def report(error: Exception, hint: str) -> None:
    """Write the lines to standard error; a message of several lines goes on below its first."""
    for word, text in (("error", str(error)), ("hint", hint)):
        if text:
            print(f"{word}: {text.rstrip()}", file=sys.stderr)
