"""The server that gRPC's Python library suggests: grpc.aio, messages as classes, two models. For comparison.

Run as ``aio.py PROBE_PORT GRPC_PORT``; a GET to the first is answered when the second listens.
"""

import asyncio
import sys

import grpc
import numpy as np

from dragoman.protocols.kserve_v2.messages import SERVICE, ModelInferRequest, ModelInferResponse

_TYPES = {"INT32": np.int32, "FP32": np.float32}


async def infer(request: ModelInferRequest, context: object) -> ModelInferResponse:
    """What the models ``add`` and ``identity`` do, with what the library offers."""
    arrays = [
        np.frombuffer(raw, _TYPES[tensor.datatype]).reshape(list(tensor.shape))
        for raw, tensor in zip(request.raw_input_contents, request.inputs, strict=True)
    ]
    if request.model_name == "add":
        a, b = arrays
        arrays = [a + b, a - b]
    answer = ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    for number, array in enumerate(arrays):
        answer.outputs.add(name=f"OUTPUT{number}", datatype=request.inputs[0].datatype, shape=array.shape)
        answer.raw_output_contents.append(array.tobytes())
    return answer


async def probe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def main(probe_port: int, grpc_port: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=ModelInferRequest.FromString,
        response_serializer=ModelInferResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": handler})])
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    async with await asyncio.start_server(probe, "127.0.0.1", probe_port):
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
