"""Register, ask and unregister a model, with messages compiled from TorchServe's definitions (see README.md)."""

import argparse

import grpc
import inference_pb2
import inference_pb2_grpc
import management_pb2
import management_pb2_grpc


def register(management, asked, metadata):
    request = management_pb2.RegisterModelRequest(
        url=f"{asked.model}.mar", model_name=asked.model, initial_workers=1, synchronous=True
    )
    print(management.RegisterModel(request, metadata=metadata).msg)


def unregister(management, asked, metadata):
    request = management_pb2.UnregisterModelRequest(model_name=asked.model)
    print(management.UnregisterModel(request, metadata=metadata).msg)


def infer(inference, asked, metadata):
    request = inference_pb2.PredictionsRequest(model_name=asked.model, input={"data": asked.text.encode()})
    print(inference.Predictions(request, metadata=metadata).prediction.decode())


def stream(inference, asked, metadata):
    request = inference_pb2.PredictionsRequest(model_name=asked.model, input={"data": asked.text.encode()})
    for answer in inference.StreamPredictions(request, metadata=metadata):
        print(answer.prediction.decode(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("register", "infer", "stream", "unregister"))
    parser.add_argument("model")
    parser.add_argument("text", nargs="?", default="")
    parser.add_argument("--inference", default="localhost:7070", metavar="HOST:PORT")
    parser.add_argument("--management", default="localhost:7071", metavar="HOST:PORT")
    parser.add_argument("--auth-token", metavar="KEY")
    asked = parser.parse_args()
    metadata = [("authorization", f"Bearer {asked.auth_token}")] if asked.auth_token else []

    if asked.action in ("infer", "stream"):
        with grpc.insecure_channel(asked.inference) as channel:
            stub = inference_pb2_grpc.InferenceAPIsServiceStub(channel)
            {"infer": infer, "stream": stream}[asked.action](stub, asked, metadata)
    else:
        with grpc.insecure_channel(asked.management) as channel:
            stub = management_pb2_grpc.ManagementAPIsServiceStub(channel)
            {"register": register, "unregister": unregister}[asked.action](stub, asked, metadata)


if __name__ == "__main__":
    main()
