"""Loads, unloads and lists the models of a repository, for code that drives one itself."""

import inspect

from dragoman.compat.kserve.base_model import is_healthy
from dragoman.compat.kserve.errors import ModelNotFound, ModelNotReady
from dragoman.compat.kserve.model_repository import ModelRepository


class ModelRepositoryExtension:
    """The repository extension of the v2 protocol, over one repository."""

    def __init__(self, model_registry: ModelRepository) -> None:
        self._model_registry = model_registry

    async def index(self, filter_ready: bool | None = False) -> list[dict[str, str]]:
        """Name, state and reason of every model, or of those that are ready."""
        states = {name: await self._is_ready(name) for name in list(self._model_registry.get_models())}
        return [
            {"name": name, "state": "Ready" if ready else "NotReady", "reason": ""}
            for name, ready in states.items()
            if ready or not filter_ready
        ]

    async def load(self, model_name: str) -> None:
        """Let the repository load a model. Raises ModelNotReady where that fails."""
        try:
            loaded = self._model_registry.load(model_name)
            if inspect.isawaitable(loaded):
                await loaded
        except Exception as error:
            told = f"Error type: {type(error)} error msg: {error}"
            raise ModelNotReady(model_name, told) from error
        if not await self._is_ready(model_name):
            raise ModelNotReady(model_name)

    async def unload(self, model_name: str) -> None:
        """Raises ModelNotFound."""
        try:
            self._model_registry.unload(model_name)
        except KeyError:
            raise ModelNotFound(model_name) from None

    async def _is_ready(self, name: str) -> bool:
        model = self._model_registry.get_model(name)
        return model is not None and (not hasattr(model, "healthy") or await is_healthy(model))
