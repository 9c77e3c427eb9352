"""KServe's gRPC messages and service, for clients and model files. Needs the extra ``grpc``."""
