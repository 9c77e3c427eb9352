"""Models that the page is tried with: each answers what one kind of field asks and one kind of view shows."""

import base64
import os

import numpy as np

#: A red point.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
#: What must never be more than text.
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


class Spread:
    """Rows of numbers."""

    inputs = {"values": ("FP64", [-1, -1])}
    outputs = {"mean": ("FP64", [-1]), "deviation": ("FP64", [-1])}
    batched = True
    fast = True

    def predict(self, values):
        return {"mean": values.mean(axis=1), "deviation": values.std(axis=1)}


class Everything:
    """Every field there is; what it gets is what it answers."""

    inputs = {
        "scale": ("FP32", [1]),
        "exact": ("INT64", [-1, 2]),
        "flag": ("BOOL", [1]),
        "words": ("BYTES", [-1]),
    }
    outputs = {
        "scaled": ("FP32", [1]),
        "copy": ("INT64", [-1, 2]),
        "turned": ("BOOL", [1]),
        "loud": ("BYTES", [-1]),
    }

    def predict(self, scale, exact, flag, words):
        loud = np.array([word.upper() for word in words.ravel()], object).reshape(words.shape)
        return {"scaled": scale * 2, "copy": exact, "turned": ~flag, "loud": loud}


class Picture:
    """A picture in, a picture out."""

    inputs = {"picture": ("BYTES", [1])}
    outputs = {"point": ("BYTES", [1]), "size": ("INT32", [1])}

    def predict(self, picture):
        return {"point": np.array([PNG], object), "size": np.array([len(picture[0])], np.int32)}


class Hostile:
    """Its names and its answers are markup."""

    inputs = {HOSTILE: ("BYTES", [1])}
    outputs = {f"{HOSTILE}out": ("BYTES", [1]), "rows": ("BYTES", [2])}

    def predict(self, inputs):
        answer = np.array([HOSTILE.encode()], object)
        return {f"{HOSTILE}out": answer, "rows": np.array([HOSTILE.encode(), b"<b>"], object)}


class Refuses:
    """Can't be loaded, and says so in markup."""

    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def __init__(self):
        raise RuntimeError(HOSTILE)

    def predict(self, x):
        return {"y": x}


class Dies:
    """Takes its process with it, after last words."""

    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def predict(self, x):
        if x[0] < 0:
            print(f"last words {HOSTILE}", flush=True)
            os._exit(3)
        return {"y": x}


class Labelled:
    """Three classes with names; its answer may be asked for as classes. (Its ``model.toml`` has the labels.)"""

    inputs = {"x": ("FP32", [-1, 3])}
    outputs = {"kind": ("FP32", [-1, 3])}

    def predict(self, x):
        return {"kind": x / x.sum(axis=1, keepdims=True)}
