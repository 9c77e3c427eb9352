"""A service with a bit of everything."""

import os
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse

import dragoman
from dragoman.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: float
    y: float = 0.0


class Moved(BaseModel):
    points: list[Point]
    colour: Colour


@dragoman.service(title="Many", description="A bit of everything.", version="2.0")
class Many:
    def predict(self, numbers: list[float], scale: float = 1.0) -> list[float]:
        """Each number, scaled."""
        return [scale * number for number in numbers]

    def move_points(self, points: list[Point], by: Point, colour: Colour = Colour.RED) -> Moved:
        return Moved(points=[Point(x=p.x + by.x, y=p.y + by.y) for p in points], colour=colour)

    def total(self, rows: np.ndarray[tuple[int, Literal[3]], np.dtype[np.float32]]) -> NDArray[np.float32]:
        return rows.sum(axis=1, keepdims=True)

    @dragoman.endpoint("/items/{item}", method="GET", tags=["Items"])
    def item(self, item: int, tag: list[str] = [], limit: Annotated[int, Field(ge=1)] = 10) -> dict:  # noqa: B006
        if item == 404:
            raise NotFound("there is no item 404")
        return {"item": item, "tag": tag, "limit": limit}

    @dragoman.endpoint("/items", status=201)
    def add(self, name: Annotated[str, Field(min_length=2, max_length=8)]) -> dict:
        kinds = {"taken": Conflict, "secret": Forbidden, "who": Unauthorized, "bad": InvalidInput}
        if name in kinds:
            raise kinds[name](f"not {name}")
        if name == "teapot":
            raise HTTPException(418, detail={"short": True, "stout": True}, headers={"x-tea": "green"})
        if name == "boom":
            raise RuntimeError("nobody's business")
        if name == "die":
            os._exit(7)
        return {"name": name}

    def count(self, until: int) -> Iterator[int]:
        for number in range(until):
            if number == 13:
                raise RuntimeError("unlucky")
            yield number

    def size(self, image: bytes, title: str = "") -> dict:
        return {"bytes": len(image), "title": title, "first": image[:1].hex()}

    async def upload(self, file: UploadFile) -> dict:
        content = await file.read()
        return {"name": file.filename, "type": file.content_type, "size": file.size, "bytes": len(content)}

    async def look(self, request: Request) -> dict:
        body = (await request.body()).decode()
        return {
            "method": request.method,
            "agent": request.headers.get("x-agent"),
            "query": dict(request.query_params),
            "url": str(request.url),
            "body": body,
        }

    def raw(self) -> bytes:
        return b"\x00\x01"

    def plain(self):
        """No hints: no endpoint."""

    @dragoman.endpoint
    def text(self) -> PlainTextResponse:
        return PlainTextResponse("hello", status_code=203, headers={"x-kind": "plain"})

    def wrong(self) -> int:
        return "no number"  # type: ignore[return-value]

    def _private(self, number: int) -> int:
        return number


class Ticks:
    async def tick(self, until: int) -> AsyncIterator[dict]:
        for number in range(until):
            yield {"tick": number}
