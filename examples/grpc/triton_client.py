"""Triton's client: a call, calls side by side, and a stream. Usage: triton_client.py [HOST:PORT]"""

import sys
from queue import SimpleQueue

import numpy as np
import tritonclient.grpc as triton

A = np.array([[1, 2, 3]], np.float32)


def inputs(b):
    made = []
    for name, data in (("a", A), ("b", np.full((1, 3), b, np.float32))):
        made.append(triton.InferInput(name, list(data.shape), "FP32").set_data_from_numpy(data))
    return made


def main(url="localhost:8081"):
    with triton.InferenceServerClient(url) as client:
        print("ready:", client.is_model_ready("Sums"))
        print("one call:", client.infer("Sums", inputs(10)).as_numpy("sum").tolist())

        answers = SimpleQueue()

        def collect(result, error):
            answers.put(error or result.as_numpy("sum").tolist())

        for number in range(3):  # these are joined, if they come while the model works
            client.async_infer("Sums", inputs(number), collect)
        print("side by side:", sorted(answers.get(timeout=30) for _ in range(3)))

        client.start_stream(collect)
        for number in range(3):
            client.async_stream_infer("Sums", inputs(number))
        print("on a stream, in order:", [answers.get(timeout=30) for _ in range(3)])
        client.stop_stream()


if __name__ == "__main__":
    main(*sys.argv[1:])
