"""KServe's loggers, and how they write when a model file configures them."""

import asyncio
import json
import logging
import logging.config
from pathlib import Path
from typing import Any, Final

from dragoman.compat.kserve.constants.constants import KSERVE_LOGLEVEL
from dragoman.compat.need import need
from dragoman.log import Trickle

KSERVE_LOGGER_NAME: Final = "kserve"
KSERVE_TRACE_LOGGER_NAME: Final = "kserve.trace"
KSERVE_LOGGER_FORMAT: Final = (
    "%(asctime)s.%(msecs)03d %(process)s %(name)s "
    "%(levelname)s [%(filename)s:%(funcName)s():%(lineno)s] %(message)s"
)
KSERVE_TRACE_LOGGER_FORMAT: Final = "%(asctime)s.%(msecs)03d %(process)s %(name)s %(message)s"
KSERVE_LOGGER_DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


def _handler(formatter: str) -> dict[str, str]:
    return {"formatter": formatter, "class": "logging.StreamHandler", "stream": "ext://sys.stderr"}


def _formatter(text: str) -> dict[str, str]:
    return {"()": "logging.Formatter", "fmt": text, "datefmt": KSERVE_LOGGER_DATE_FORMAT}


def _logger(handler: str) -> dict[str, Any]:
    return {"handlers": [handler], "level": KSERVE_LOGLEVEL, "propagate": False}


#: For ``logging.config.dictConfig``. The access log is the server's own business.
KSERVE_LOG_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "kserve": _formatter(KSERVE_LOGGER_FORMAT),
        "kserve_trace": _formatter(KSERVE_TRACE_LOGGER_FORMAT),
    },
    "handlers": {"kserve": _handler("kserve"), "kserve_trace": _handler("kserve_trace")},
    "loggers": {
        KSERVE_LOGGER_NAME: _logger("kserve"),
        KSERVE_TRACE_LOGGER_NAME: _logger("kserve_trace"),
    },
}

logger = logging.getLogger(KSERVE_LOGGER_NAME)
trace_logger = logging.getLogger(KSERVE_TRACE_LOGGER_NAME)


#: There is a line for each request.
_times: Final = Trickle(trace_logger)


def log_time(text: str, *values: Any) -> None:
    """A line of the trace, ``text % values``, from a coroutine."""
    _times.write(text, *values, loop=asyncio.get_running_loop)


def configure_logging(log_config: dict[str, Any] | str | None = None) -> None:
    """Configure logging from a dict, or from a file by its ending: ``.json``, ``.yaml``, or the standard library's
    own format. Without one the ``kserve`` loggers write to stderr, unless somebody has set up logging already.
    """
    if log_config is None:
        if not logger.hasHandlers():
            logging.config.dictConfig(KSERVE_LOG_CONFIG)
    elif isinstance(log_config, dict):
        logging.config.dictConfig(log_config)
    elif log_config.endswith(".json"):
        logging.config.dictConfig(json.loads(Path(log_config).read_text("utf-8")))
    elif log_config.endswith((".yaml", ".yml")):
        yaml = need("yaml", "a logging configuration in YAML", "pyyaml")
        logging.config.dictConfig(yaml.safe_load(Path(log_config).read_text("utf-8")))
    else:
        logging.config.fileConfig(log_config, disable_existing_loggers=False)
