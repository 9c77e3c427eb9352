"""A model's configuration as a model reads it, and as ``auto_complete_config`` fills it in."""

import json
from collections.abc import Mapping
from typing import Any, Final

_NEEDED: Final = ("name", "data_type", "dims")
_INPUT: Final = (*_NEEDED, "optional")
_SCHEDULERS: Final = ("dynamic_batching", "sequence_batching", "ensemble_scheduling")

Document = dict[str, Any]


class ModelConfig:
    """What is known of a model before it is loaded. ValueError for what contradicts its configuration."""

    def __init__(self, model_config: str) -> None:
        self._config: Document = json.loads(model_config)

    def as_dict(self) -> Document:
        """The configuration, every field of it."""
        return self._config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """How many rows a batch may have; not fewer than the configuration says."""
        said = self._config.get("max_batch_size", 0)
        if said > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {said}, but in auto-complete-config function for model"
                f" '{self._name}' specified max_batch_size {max_batch_size}"
            )
        self._config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Rows of several requests may come together, where the configuration says nothing of that."""
        for scheduler in _SCHEDULERS[1:]:
            if scheduler in self._config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{scheduler}', but auto-complete-config function"
                    f" for model '{self._name}' tries to set scheduling_choice as 'dynamic_batching'"
                )
        self._config.setdefault("dynamic_batching", {})

    def set_model_transaction_policy(self, transaction_policy_dict: Mapping[str, Any]) -> None:
        """``{"decoupled": True}`` for a model that answers as often as it likes."""
        for key in transaction_policy_dict:
            if key != "decoupled":
                raise ValueError(
                    f"model transaction property in auto-complete-config function for model '{self._name}' contains"
                    f" property other than 'decoupled': '{key}'"
                )
        self._config.setdefault("model_transaction_policy", {}).update(transaction_policy_dict)

    def add_input(self, input: Mapping[str, Any]) -> None:  # noqa: A002 - its callers' name
        """An input with name, data_type and dims, and whether it is ``optional``."""
        self._add("input", input, _INPUT)

    def add_output(self, output: Mapping[str, Any]) -> None:
        """An output with name, data_type and dims."""
        self._add("output", output, _NEEDED)

    @property
    def _name(self) -> str:
        return str(self._config.get("name", ""))

    def _add(self, kind: str, tensor: Mapping[str, Any], valid: tuple[str, ...]) -> None:
        for key in tensor:
            if key not in valid:
                raise ValueError(
                    f"{kind} '{tensor.get('name', '')}' in auto-complete-config function for model '{self._name}'"
                    f" contains property other than {', '.join(valid)}."
                )
        for key in _NEEDED:
            if key not in tensor:
                raise ValueError(
                    f"{kind} in auto-complete-config function for model '{self._name}' is missing '{key}' property."
                )
        known = self._config.setdefault(kind, [])
        for there in known:
            if there["name"] == tensor["name"]:
                self._complete(kind, there, tensor)
                return
        known.append(dict(tensor))

    def _complete(self, kind: str, there: Document, tensor: Mapping[str, Any]) -> None:
        """Fill in what the configuration leaves open of a tensor."""
        for key, empty in (("data_type", "TYPE_INVALID"), ("dims", []), ("optional", False)):
            said = there.get(key, empty)
            if key not in tensor or said == tensor[key]:
                continue
            if said != empty:
                raise ValueError(
                    f"unable to load model '{self._name}', configuration expects {key} {said} for {kind}"
                    f" '{there['name']}', but auto-complete-config function specified {tensor[key]}"
                )
            there[key] = tensor[key]


def get_input_config_by_name(model_config: Mapping[str, Any], name: str) -> Document | None:
    """The configuration of an input; ``None`` where there is none."""
    return _find(model_config, "input", name)


def get_output_config_by_name(model_config: Mapping[str, Any], name: str) -> Document | None:
    """The configuration of an output; ``None`` where there is none."""
    return _find(model_config, "output", name)


def using_decoupled_model_transaction_policy(model_config: Mapping[str, Any]) -> bool:
    """Whether a model answers as often as it likes."""
    return bool((model_config.get("model_transaction_policy") or {}).get("decoupled", False))


def _find(config: Mapping[str, Any], kind: str, name: str) -> Document | None:
    found: list[Document] = [each for each in config.get(kind, ()) if each["name"] == name]
    return found[0] if found else None
