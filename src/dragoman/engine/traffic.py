"""Which version answers a request that names none: shares in, a version for each request out. Pure: knows no model.

Shares are kept exactly, not on average: of any hundred requests in a row, a version with 10 percent gets ten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dragoman.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the operator wants of a model's traffic: percent by version, 100 in all or none, and a version that gets
    a copy of every request and answers nobody."""

    shares: Mapping[str, int] = field(default_factory=dict)
    shadow: str = ""

    def __post_init__(self) -> None:
        for version, share in self.shares.items():
            if type(share) is not int or not 0 <= share <= 100:
                raise InvalidInput(f"version {version!r} gets a share from 0 to 100 percent, got {share!r}")
        if self.shares and sum(self.shares.values()) != 100:
            raise InvalidInput(f"the shares of all versions are 100 percent, got {sum(self.shares.values())}")


class Rotation:
    """Smooth weighted round robin: each version's turns are spread as evenly as its share allows."""

    def __init__(self, shares: Mapping[str, int]) -> None:
        self._shares = {version: share for version, share in shares.items() if share}
        self._turns = dict.fromkeys(self._shares, 0)
        self._total = sum(self._shares.values())

    def next(self) -> str:
        """The version whose turn it is."""
        turns = self._turns
        for version, share in self._shares.items():
            turns[version] += share
        chosen = max(turns, key=turns.__getitem__)
        turns[chosen] -= self._total
        return chosen
