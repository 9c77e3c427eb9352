"""Many clients at once, each with inputs of its own: whatever is joined on the way, each gets its own answer."""

import asyncio
import json
from random import Random

import pytest

from dragoman.testing import TestClient

CLIENTS = 64
REQUESTS = 10_000
MOST_ROWS = 3


class Rows:
    """Numbers rows of any width by their content, and says how wide they were; rows may be joined."""

    inputs = {"x": ("INT64", [-1, -1])}
    outputs = {"total": ("INT64", [-1]), "double": ("INT64", [-1, -1])}
    batched = True
    max_batch = 32

    def predict(self, x):
        return {"total": x.sum(axis=1), "double": 2 * x}


class Whole(Rows):
    """The same, one request at a time."""

    batched = False
    max_batch = 0


@pytest.fixture(scope="module")
def server():
    with TestClient(Rows, Whole) as client:
        yield client


@pytest.mark.parametrize("model", ["Rows", "Whole"])
def test_each_of_many_clients_gets_its_own_answers(server, model):
    rows = asyncio.run(ask_all(server.app.port, model, REQUESTS))
    stats = server.call(lambda: server.app.engine.stats.of(model, "1").snapshot())
    counts, total = stats["histograms"]["batch"]
    assert stats["answers"] == [["v2", "ok", REQUESTS]]
    assert (stats["waiting"], stats["running"]) == (0, 0)
    if model == "Rows":
        assert total == rows  # each row was executed once
        assert sum(counts) < REQUESTS
        more_than_any_request = sum(counts[3:])  # buckets end at 1, 2, 4, 8, ... rows
        assert more_than_any_request > 0
    else:
        assert sum(counts) == REQUESTS


async def ask_all(port, model, requests):
    """How many rows were asked in all."""
    shares = [requests // CLIENTS + (number < requests % CLIENTS) for number in range(CLIENTS)]
    return sum(
        await asyncio.gather(*(ask(port, model, number, share) for number, share in enumerate(shares)))
    )


async def ask(port, model, client, count):
    """One client on one connection: ``count`` requests, each with numbers that no other request has."""
    random = Random(client)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = 0
    try:
        for number in range(count):
            rows, width = random.randint(1, MOST_ROWS), random.choice((1, 2, 2, 2, 5))
            first = (client * count + number) * 1000
            data = list(range(first, first + rows * width))
            asked += rows
            writer.write(request(model, f"{client}-{number}", [rows, width], data))
            answer = await read(reader)
            assert answer["id"] == f"{client}-{number}"
            outputs = {output["name"]: output for output in answer["outputs"]}
            assert outputs["double"]["shape"] == [rows, width]
            assert outputs["double"]["data"] == [2 * value for value in data]
            lines = [data[row * width : (row + 1) * width] for row in range(rows)]
            assert outputs["total"]["data"] == [sum(line) for line in lines]
    finally:
        writer.close()
    return asked


def request(model, id_, shape, data):
    document = {"id": id_, "inputs": [{"name": "x", "datatype": "INT64", "shape": shape, "data": data}]}
    body = json.dumps(document).encode()
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def read(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    return json.loads(await reader.readexactly(length))
