"""A process that changes a state as fast as it can and tells what it does, until somebody kills it."""

import random
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from dragoman.errors import Conflict, NotReady
from dragoman.store import Model, Version, open_store

#: What a state comes to: a digest of each model, without its times. Short: a full pipe would hold the writer up.
Told = dict[str, str]

DONE: Told = {"": "done"}


def told(models: tuple[Model, ...]) -> Told:
    return {
        model.name: repr(
            [model.revision, model.default, [(v.version, dict(v.settings)) for v in model.versions]]
        )
        for model in models
    }


def write(path: str, pipe: Connection, seed: int) -> None:
    """Sends, for ever, the state that a change is about to lead to, and ``DONE`` when it has been reported."""
    choose = random.Random(seed)
    store = open_store(path)
    pipe.send(told(store.models()))
    while True:
        name = f"m{choose.randrange(3)}"
        model, state = store.model(name), told(store.models())
        settings = {"note": choose.randbytes(choose.choice([10, 3_000, 30_000])).hex()}
        if model is None:
            revision = len(store.history(name, limit=100_000))
            after = Model(name=name, versions=(Version(version="0", settings=settings),), default="0")
            pipe.send(state | told((replace(after, revision=revision + 1),)))
            store.save(after, who="writer", what="register")
        elif choose.random() < 0.2:
            pipe.send({other: text for other, text in state.items() if other != name})
            store.remove(model, who="writer")
        else:
            version = Version(version=str(model.revision), settings=settings)
            after = replace(model, versions=(*model.versions[-2:], version), default=version.version)
            pipe.send(state | told((replace(after, revision=model.revision + 1),)))
            store.save(after, who="writer", what="add")
        pipe.send(DONE)


def add(path: str, number: int, count: int) -> None:
    """Adds versions to the model that is there, again and again where somebody else was faster."""
    store = open_store(path)
    for turn in range(count):
        while True:
            model = store.models()[0]
            version = Version(version=f"{number}.{turn}")
            with suppress(Conflict, NotReady):
                store.save(replace(model, versions=(*model.versions, version)), who=str(number), what="add")
                break
