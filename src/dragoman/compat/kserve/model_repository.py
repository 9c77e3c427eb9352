"""The models that a server has, by name; to be overridden by who loads them on demand."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.base_model import Answer, BaseKServeModel, is_healthy

#: Where Kubernetes mounts models.
MODEL_MOUNT_DIRS: Final = "/mnt/models"


class ModelRepository:
    """A dict with the words that KServe has for it. ``load`` and ``load_model`` are there to be overridden."""

    _watcher: Callable[[], object] | None = None

    def __init__(self, models_dir: str = MODEL_MOUNT_DIRS) -> None:
        self.models: dict[str, Any] = {}
        self.models_dir = models_dir

    def watch(self, watcher: Callable[[], object] | None) -> None:
        """Tell a server whenever there are other models than before."""
        self._watcher = watcher

    def _changed(self) -> None:
        if self._watcher is not None:
            self._watcher()

    def load_models(self) -> None:
        """Call ``load_model`` for every folder in ``models_dir``."""
        for name in sorted(os.listdir(self.models_dir)):
            if (Path(self.models_dir) / name).is_dir():
                self.load_model(name)

    def set_models_dir(self, models_dir: str) -> None:
        self.models_dir = models_dir

    def get_model(self, name: str) -> Any:
        """A model or what stands for it, ``None`` if there is none of that name."""
        return self.models.get(name)

    def get_models(self) -> dict[str, Any]:
        return self.models

    def is_model_ready(self, name: str) -> Any:
        """Whether the model says that it can answer. A handle of Ray always can."""
        model = self.models.get(name)
        if not isinstance(model, BaseKServeModel):
            return model is not None if dialect.is_old() else Answer(model is not None)
        return model.healthy() if dialect.is_old() else is_healthy(model)

    def update(self, model: BaseKServeModel, name: str | None = None) -> None:
        """Add a model, or put it in the place of the one of that name. ``name`` is another than its own."""
        self.models[name or model.name] = model
        self._changed()

    def update_handle(self, name: str, model_handle: Any) -> None:
        """Add a handle of Ray that is called as a model is."""
        self.models[name] = model_handle
        self._changed()

    def load(self, name: str) -> Any:
        """To be overridden: load a model and ``update`` it."""

    def load_model(self, name: str) -> Any:
        """To be overridden: as ``load``, for a folder of ``models_dir``."""

    def unload(self, name: str) -> None:
        """Stop a model and forget it. Raises KeyError if there is none of that name."""
        if name not in self.models:
            raise KeyError(f"model with name {name} does not exist")
        model = self.models.pop(name)
        if callable(stop := getattr(model, "stop", None)):
            stop()
        if getattr(model, "engine", False) is True:
            model.stop_engine()
        self._changed()
