"""Models that answer several times, as the recorded ones of the generate extension do."""

import asyncio
import json
from pathlib import Path

from dragoman.compat.kserve import InferOutput, InferRequest, InferResponse, Model
from dragoman.errors import InvalidInput


def said(text: str, number: int, parameters: dict) -> bytes:
    """What the recorded models answer: the text, the answer's number, and the parameters as JSON."""
    kept = {key: value for key, value in parameters.items() if key not in ("headers", "transport")}
    return f"{text}#{number}|{json.dumps(kept, separators=(',', ':'))}".encode()


class Repeat(Model):
    """Answers as often as ``repeat`` says; two texts are failures."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.load()

    def get_input_types(self):
        return [
            {"name": "text_input", "datatype": "BYTES", "shape": [1]},
            {"name": "repeat", "datatype": "INT32", "shape": [1]},
        ]

    def get_output_types(self):
        return [{"name": "text_output", "datatype": "BYTES", "shape": [1]}]

    async def predict(self, payload: InferRequest, headers=None):
        given = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        text = given["text_input"].item()
        count = int(given["repeat"].item()) if "repeat" in given else 2
        return self.answers(payload, text, count)

    async def answers(self, payload: InferRequest, text: str, count: int):
        for number in range(count):
            if text == "err0":
                raise InvalidInput("first failure")
            if text == "err" and number == 1:
                raise InvalidInput("late failure")
            output = InferOutput(
                "text_output", [1], "BYTES", [said(text, number, payload.parameters or {}).decode()]
            )
            yield InferResponse(payload.id, self.name, [output])
            while text.startswith("/") and not Path(text).exists():  # the test says when it goes on
                await asyncio.sleep(0.01)
