"""Where models write to the server's log."""

import logging
from typing import Final

from dragoman.compat.triton_python_backend_utils.errors import TritonModelException
from dragoman.compat.triton_python_backend_utils.host import current


class Logger:
    """Every function may be called on the class itself."""

    INFO: Final = 0
    WARNING: Final = 1
    ERROR: Final = 2
    VERBOSE: Final = 3

    @staticmethod
    def log(message: str, level: int = INFO) -> None:
        """Write a line of one of the class's levels."""
        number = {0: logging.INFO, 1: logging.WARNING, 2: logging.ERROR, 3: logging.DEBUG}.get(int(level))
        if number is None:
            raise TritonModelException(f"unknown log level {level!r}")
        try:
            name = f"dragoman.models.{current().model}"
        except TritonModelException:
            name = "dragoman.models"
        logging.getLogger(name).log(number, "%s", message)

    @staticmethod
    def log_info(message: str) -> None:
        Logger.log(message, Logger.INFO)

    @staticmethod
    def log_warn(message: str) -> None:
        Logger.log(message, Logger.WARNING)

    @staticmethod
    def log_error(message: str) -> None:
        Logger.log(message, Logger.ERROR)

    @staticmethod
    def log_verbose(message: str) -> None:
        Logger.log(message, Logger.VERBOSE)
