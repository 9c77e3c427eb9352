"""The predictor that models of this process ask when they have not been told of another."""

from contextvars import ContextVar

from dragoman.compat.kserve.predictor_config import PredictorConfig

_config: ContextVar[PredictorConfig | None] = ContextVar("predictor_config", default=None)
#: For threads, which begin with a context that is empty.
_last: PredictorConfig | None = None


def set_predictor_config(config: PredictorConfig | None) -> None:
    """What ``get_predictor_config`` gives from now on, here and in threads that were told nothing."""
    global _last
    _config.set(config)
    _last = config


def get_predictor_config() -> PredictorConfig | None:
    config = _config.get()
    return _last if config is None else config
