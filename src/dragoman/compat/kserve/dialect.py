"""Which of KServe's two incompatible APIs this process speaks, where one class can't speak both.

================================  =====================  ====================================
what                              ``"0.13"``             ``"0.21"``
================================  =====================  ====================================
``Model.__call__``                answers the response   ``(response, response_headers)``
``to_rest`` of a request or an    a ``dict``             ``(dict or bytes, length of the JSON
answer                                                   or None)``
``healthy``, ``is_model_ready``   a ``bool``             can be awaited, and be taken for one
models that are not ready at      registered, and        not registered; if none is ready, the
``ModelServer.start``             answer 503             server does not start
an exception that nobody catches  stops the server       is logged
================================  =====================  ====================================

Everything else is the same whichever is spoken: the union of both. ``import dragoman`` speaks 0.13, the API that
KServe's own reference page describes; where the alias ``kserve`` is installed the process speaks 0.21.
"""

from typing import Final, Literal

Dialect = Literal["0.13", "0.21"]

_spoken: Dialect = "0.13"

#: What both of them have that is told to clients and in logs.
VERSIONS: Final = ("0.13", "0.21")


def choose(dialect: Dialect) -> None:
    """Speak one of the two from now on, in the whole process."""
    global _spoken
    if dialect not in VERSIONS:
        raise ValueError(f"KServe's API is spoken as {' or '.join(VERSIONS)}, not as {dialect!r}")
    _spoken = dialect


def spoken() -> Dialect:
    """The one that was chosen last."""
    return _spoken


def is_old() -> bool:
    """Whether answers are as in KServe 0.13."""
    return _spoken == "0.13"
