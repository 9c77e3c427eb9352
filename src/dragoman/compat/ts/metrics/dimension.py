"""One of the names and values that a metric is broken down by."""

from typing import Any


class Dimension:
    """``Dimension("Level", "Model")``."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"

    def to_dict(self) -> dict[str, Any]:
        return {"Name": self.name, "Value": self.value}
