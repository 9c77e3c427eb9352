"""A service of functions, without an envelope."""

import dragoman

state = {}


def startup():
    state["factor"] = 3


def triple(number: int) -> int:
    """Three times as much."""
    return state["factor"] * number


def shout(text: str) -> str:
    return text.upper()


app = dragoman.service(
    triple,
    shout,
    title="Functions",
    path="/tools",
    envelope=False,
    startup=startup,
    performance=lambda: {"overall": {"f1": 1.0}},
    run_id="abc",
)
