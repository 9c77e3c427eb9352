"""The floor: the same answers from a bare protocol, as fast as Python can give them.

uvloop, httptools, orjson and numpy, and nothing that a server needs besides: no routes, no limits, no
metrics, no checks, no time-outs. What Dragoman costs is what it takes beyond this.

    python floor.py CASE PORT
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, cast

import httptools
import numpy as np
import orjson
import uvloop
from numpy.typing import NDArray

Array = NDArray[Any]
MAX_BATCH = 32


class Floor(asyncio.Protocol):
    """One connection: a body in, an answer out, nothing asked."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.pieces: list[bytes] = []
        self.header_length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Inference-Header-Content-Length":
            self.header_length = int(value)

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        pieces, self.pieces = self.pieces, []
        self.answer(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def answer(self, body: bytes) -> None:
        self.respond(b"")  # to a probe

    def respond(self, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


class AddFloor(Floor):
    def answer(self, body: bytes) -> None:
        if not body:
            self.respond(b"")
            return
        first, second = orjson.loads(body)["inputs"]
        one = np.array(first["data"], np.int32).reshape(first["shape"])
        two = np.array(second["data"], np.int32).reshape(second["shape"])
        self.respond(encode("add", {"OUTPUT0": one + two, "OUTPUT1": one - two}))


class IdentityFloor(Floor):
    def answer(self, body: bytes) -> None:
        if not body:
            self.respond(b"")
            return
        length = self.header_length
        tensor = orjson.loads(body[:length])["inputs"][0]
        data = np.frombuffer(body, np.float32, offset=length).reshape(tensor["shape"])
        output = {
            "name": "OUTPUT0",
            "datatype": "FP32",
            "shape": data.shape,
            "parameters": {"binary_data_size": data.nbytes},
        }
        head = orjson.dumps({"model_name": "identity", "model_version": "1", "outputs": [output]})
        self.transport.writelines(
            [
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%b"
                % (len(head), len(head) + data.nbytes, head),
                data.data.cast("B"),
            ]
        )


class BatchingFloor(Floor):
    queue: "Queue"

    def answer(self, body: bytes) -> None:
        if not body:
            self.respond(b"")
            return
        tensor = orjson.loads(body)["inputs"][0]
        data = np.array(tensor["data"], np.int32).reshape(tensor["shape"])
        self.queue.put(data, lambda output: self.respond(encode("batching", {"OUTPUT0": output})))


Waiting = tuple[Array, Callable[[Array], None]]


class Queue:
    """Batches without a timer: what came while the model was busy goes next, on the model's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: deque[Waiting] = deque()
        self.batches: SimpleQueue[list[Waiting]] = SimpleQueue()
        self.busy = False
        Thread(target=self.work, daemon=True).start()

    def put(self, data: Array, reply: Callable[[Array], None]) -> None:
        self.waiting.append((data, reply))
        if not self.busy:
            self.send()

    def send(self) -> None:
        self.busy = True
        self.batches.put([self.waiting.popleft() for _ in range(min(MAX_BATCH, len(self.waiting)))])

    def work(self) -> None:
        while True:
            batch = self.batches.get()
            rows = np.concatenate([data for data, _ in batch])
            time.sleep(0.002 + 0.00001 * len(rows))
            self.loop.call_soon_threadsafe(self.done, batch, rows + 1)

    def done(self, batch: list[Waiting], rows: Array) -> None:
        self.busy = False
        if self.waiting:
            self.send()
        start = 0
        for data, reply in batch:
            reply(rows[start : start + len(data)])
            start += len(data)


def encode(model: str, outputs: dict[str, Array]) -> bytes:
    """The answer's JSON."""
    entries = [
        {"name": name, "datatype": "INT32", "shape": data.shape, "data": data.ravel().tolist()}
        for name, data in outputs.items()
    ]
    return orjson.dumps({"model_name": model, "model_version": "1", "outputs": entries})


async def serve(case: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    if case == "batching":
        BatchingFloor.queue = Queue(loop)
    protocol = {"add": AddFloor, "identity": IdentityFloor, "batching": BatchingFloor}[case]
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
