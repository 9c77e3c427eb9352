"""How fast N replicas answer, by the way requests are shared out: a simulation, and the table for the docs.

Each request arrives at a moment of a Poisson process and takes a service time of a distribution; a replica works on one
request at a time and keeps the others in line. Times are in multiples of the mean service time, so that one table is
true of every model. Nothing is measured here but a model of queues; the tests hold it against theory.

    python benchmarks/queueing.py            prints the table
"""

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Final, NamedTuple

#: How a request finds its replica.
WAYS: Final = ("random", "round robin", "two choices", "shared queue")

Draw = Callable[[random.Random], float]


def exponential(random: random.Random) -> float:
    """Service times that vary a lot: most are short, a few long."""
    return random.expovariate(1.0)


def constant(random: random.Random) -> float:
    """A model that always takes the same time, as most networks do."""
    return 1.0


def heavy(random: random.Random) -> float:
    """One request of twenty takes ten times as long: long texts, big images."""
    return (10.0 if random.random() < 0.05 else 1.0) / 1.45


SERVICES: Final[dict[str, Draw]] = {"constant": constant, "exponential": exponential, "heavy": heavy}


class Result(NamedTuple):
    """Times from arrival to answer in multiples of the mean service time, and the share of time replicas worked."""

    p50: float
    p99: float
    mean: float
    waited: float  #: the mean time in line
    utilisation: float


@dataclass
class _Replica:
    """A line and who works on it: one, or with a shared queue as many as there are replicas."""

    free: int = 1
    working: int = 0
    line: deque[tuple[float, float]] = field(default_factory=deque)  # when each came, and how long it takes

    @property
    def held(self) -> int:
        return len(self.line) + self.working


def simulate(way: str, replicas: int, load: float, service: Draw, requests: int, seed: int) -> Result:
    """``load`` is the share of what all replicas together could do that is asked of them, below 1.

    The first tenth of the requests is not counted: the queues begin empty.
    """
    run = _Run(way, replicas, random.Random(seed))
    coming = run.chance.expovariate(load * replicas)
    for _ in range(requests):
        run.finish_until(coming)
        came, coming = coming, coming + run.chance.expovariate(load * replicas)
        run.arrive(came, service(run.chance))
    run.finish_until(inf)
    return _summary(run.total, run.waits, run.worked / (run.now * replicas))


class _Run:
    """One simulation: what has happened so far, and the answers that are to come."""

    def __init__(self, way: str, replicas: int, chance: random.Random) -> None:
        self.chance = chance
        self.total: list[float] = []
        self.waits: list[float] = []
        self.worked = 0.0
        self.now = 0.0
        self._choose = _chooser(way, replicas, chance)
        shared = way == "shared queue"
        self._pool = [_Replica(replicas)] if shared else [_Replica() for _ in range(replicas)]
        self._ends: list[tuple[float, int, int, float]] = []  # when, a serial number, whose, and when it came
        self._serials = count()

    def arrive(self, came: float, takes: float) -> None:
        """A request comes, and is worked on or waits."""
        place = self._choose(self._pool)
        replica = self._pool[place]
        if replica.free:
            replica.free -= 1
            replica.working += 1
            self._start(place, came, came, takes)
        else:
            replica.line.append((came, takes))

    def finish_until(self, moment: float) -> None:
        """Everything that is answered before that moment."""
        while self._ends and self._ends[0][0] < moment:
            self.now, _, place, came = heapq.heappop(self._ends)
            self.total.append(self.now - came)
            replica = self._pool[place]
            if replica.line:
                self._start(place, self.now, *replica.line.popleft())
            else:
                replica.free += 1
                replica.working -= 1

    def _start(self, place: int, now: float, came: float, takes: float) -> None:
        self.worked += takes
        self.waits.append(now - came)
        heapq.heappush(self._ends, (now + takes, next(self._serials), place, came))


def _chooser(way: str, replicas: int, chance: random.Random) -> Callable[[Sequence[_Replica]], int]:
    turn = -1

    def round_robin(pool: Sequence[_Replica]) -> int:
        nonlocal turn
        turn = (turn + 1) % replicas
        return turn

    def two_choices(pool: Sequence[_Replica]) -> int:
        if replicas == 1:
            return 0
        one, other = chance.sample(range(replicas), 2)
        return one if pool[one].held <= pool[other].held else other

    ways: dict[str, Callable[[Sequence[_Replica]], int]] = {
        "random": lambda pool: chance.randrange(replicas),
        "round robin": round_robin,
        "two choices": two_choices,
        "shared queue": lambda pool: 0,
    }
    return ways[way]


def _summary(total: list[float], waits: list[float], utilisation: float) -> Result:
    counted = sorted(total[len(total) // 10 :])
    waits = waits[len(waits) // 10 :]
    return Result(
        counted[len(counted) // 2],
        counted[int(len(counted) * 0.99)],
        sum(counted) / len(counted),
        sum(waits) / len(waits),
        utilisation,
    )


# Theory, for the tests and for the table's first column.


def wait_mm1(load: float) -> float:
    """The mean wait in line of one replica with exponential service times."""
    return load / (1 - load)


def wait_mmc(replicas: int, load: float) -> float:
    """The mean wait of a shared queue before N replicas with exponential service times: Erlang's formula C."""
    offered = load * replicas
    term = total = 1.0  # offered**k / k!
    for k in range(1, replicas):
        term *= offered / k
        total += term
    last = term * offered / replicas / (1 - load)
    return last / (total + last) / (replicas * (1 - load))


def wait_md1(load: float) -> float:
    """The mean wait of one replica with constant service times: Pollaczek and Khinchine's formula."""
    return load / (2 * (1 - load))


def table(replicas: Sequence[int], loads: Sequence[float], requests: int, seed: int) -> str:
    """The table of docs/scaling.md."""
    rows = [
        "| service times | replicas | load | " + " | ".join(f"{way}: p50, p99" for way in WAYS) + " |",
        "|---|--:|--:|" + "--:|" * len(WAYS),
    ]
    for name, service in SERVICES.items():
        for number in replicas:
            for load in loads:
                found = [simulate(way, number, load, service, requests, seed) for way in WAYS]
                cells = [f"{each.p50:.1f}, {each.p99:.1f}" for each in found]
                rows.append(f"| {name} | {number} | {load:.0%} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How fast N replicas answer, by the way requests are shared."
    )
    parser.add_argument("--requests", type=int, default=200_000, help="of each line of the table")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    print(table((2, 4, 16), (0.5, 0.8, 0.95), given.requests, given.seed))


if __name__ == "__main__":
    main()
