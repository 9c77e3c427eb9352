"""The same hints in FastAPI: what it refuses we refuse, at the same places, for the same reasons, in the same words."""

import asyncio
import json
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import fastapi
import pytest
from fastapi import Body

from dragoman.testing import TestClient
from tests.protocols.service.apps.lesson import PredictPayload
from tests.protocols.service.apps.many import Colour, Many, Point

APPS = Path(__file__).parent / "apps"


def original():
    """The endpoints of ``apps/many.py`` and ``apps/lesson.py`` as FastAPI has them, every body's part by its name."""
    app, many = fastapi.FastAPI(), Many()

    @app.post("/predict")
    def predict(numbers: Annotated[list[float], Body(embed=True)], scale: Annotated[float, Body()] = 1.0):
        return many.predict(numbers, scale)

    @app.post("/move-points")
    def move_points(
        points: Annotated[list[Point], Body()],
        by: Annotated[Point, Body()],
        colour: Annotated[Colour, Body()] = Colour.RED,
    ):
        return many.move_points(points, by, colour)

    @app.post("/payload")
    def payload(payload: PredictPayload):
        return {}

    @app.get("/items/{item}")
    def item(
        item: int,
        tag: Annotated[list[str], fastapi.Query()] = [],  # noqa: B006
        limit: Annotated[int, fastapi.Query(ge=1)] = 10,
    ):
        return {"item": item, "tag": tag, "limit": limit}

    return app


def ask(app, method, target, body=b""):
    """Status and JSON of an ASGI application's answer."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(), "root_path": "",
        "query_string": query.encode(), "headers": [(b"content-type", b"application/json")], "scheme": "http",
        "http_version": "1.1", "server": ("x", 80), "client": ("x", 1), "state": {},
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture(scope="module")
def theirs():
    return original()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    file = tmp_path_factory.mktemp("like") / "like.py"
    file.write_text(
        "import dragoman\nfrom tests.protocols.service.apps.lesson import PredictPayload\n"
        "from tests.protocols.service.apps.many import Many\n"
        "@dragoman.service(envelope=False)\nclass Like(Many):\n"
        "    def payload(self, payload: PredictPayload) -> dict:\n        return {}\n"
    )
    with TestClient(str(file)) as client:
        yield client


BODIES = [
    ("/predict", {"numbers": [1, 2], "scale": 2}),
    ("/predict", {"numbers": []}),
    ("/predict", {"numbers": ["1.5", True]}),
    ("/predict", {"numbers": [1, "x", None]}),
    ("/predict", {"numbers": "x", "scale": []}),
    ("/predict", {"scale": 1}),
    ("/predict", {}),
    ("/predict", {"numbers": [1], "unknown": 1}),
    ("/move-points", {"points": [{"x": 1}], "by": {"x": 0.5, "y": 1}}),
    ("/move-points", {"points": [{"x": 1}, {"y": 1}, 3], "by": {"x": "x"}, "colour": "green"}),
    ("/move-points", {"points": {}, "colour": "blue"}),
    ("/payload", {"texts": [{"text": "a"}]}),
    ("/payload", {"texts": [{"text": ""}, {"text": 3}, {}]}),
    ("/payload", {"texts": []}),
    ("/payload", {"texts": None}),
    ("/payload", {}),
    ("/payload", []),
    ("/payload", 3),
]


@pytest.mark.parametrize(("path", "document"), BODIES)
def test_a_body_has_the_same_answer(ours, theirs, path, document):
    body = json.dumps(document).encode()
    answer = ours.request("POST", path, body, {"content-type": "application/json"})
    assert (answer.status, answer.json()) == ask(theirs, "POST", path, body)


@pytest.mark.parametrize(
    "target", ["/items/1", "/items/x", "/items/1?limit=0", "/items/1.5?limit=x", "/items/2?tag=a&tag=b&limit=3&z=1",
               "/items/%20", "/items/1?limit="],
)  # fmt: skip
def test_a_query_has_the_same_answer(ours, theirs, target):
    answer = ours.get(target)
    assert (answer.status, answer.json()) == ask(theirs, "GET", target)


@pytest.mark.parametrize("body", [b"{", b'{"texts": [}', b"nonsense"])
def test_broken_json_is_refused_at_the_same_place_in_the_parser_s_own_words(ours, theirs, body):
    answer = ours.request("POST", "/payload", body, {"content-type": "application/json"})
    status, document = ask(theirs, "POST", "/payload", body)
    assert answer.status == status == 422
    mine, other = answer.json()["detail"][0], document["detail"][0]
    assert (mine["type"], mine["msg"], mine["input"]) == (other["type"], other["msg"], other["input"])
    assert mine["loc"][0] == "body"


def test_the_schemas_of_the_document_are_the_same(ours, theirs):
    _, other = ask(theirs, "GET", "/openapi.json")
    mine = ours.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Point", "Colour", "PredictPayload", "Text", "HTTPValidationError"):
        assert mine[name] == other["components"]["schemas"][name], name
