"""KServe's client. Usage: kserve_client.py [HOST:PORT]"""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main(url="localhost:8081"):
    inputs = []
    for name, values in (("a", [[1, 2, 3]]), ("b", [[10, 10, 10]])):
        data = np.array(values, np.float32)
        inputs.append(InferInput(name, list(data.shape), "FP32"))
        inputs[-1].set_data_from_numpy(data, binary_data=True)
    async with InferenceGRPCClient(url) as client:
        print("ready:", await client.is_model_ready("Sums"))
        answer = await client.infer(InferRequest("Sums", inputs))
        print("sum:", answer.outputs[0].as_numpy().tolist())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
