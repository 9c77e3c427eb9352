from dragoman.compat.kserve import InferenceGRPCClient as InferenceGRPCClient
from dragoman.compat.kserve import InferenceRESTClient as InferenceRESTClient
from dragoman.compat.kserve import InferInput as InferInput
from dragoman.compat.kserve import InferOutput as InferOutput
from dragoman.compat.kserve import InferRequest as InferRequest
from dragoman.compat.kserve import InferResponse as InferResponse
from dragoman.compat.kserve import Model as Model
from dragoman.compat.kserve import ModelRepository as ModelRepository
from dragoman.compat.kserve import PredictorConfig as PredictorConfig
from dragoman.compat.kserve import RESTConfig as RESTConfig
from dragoman.compat.kserve.model import BaseKServeModel as BaseKServeModel
from dragoman.compat.kserve.model import InferenceVerb as InferenceVerb
from dragoman.compat.kserve.protocol.infer_type import deserialize_bytes_tensor as deserialize_bytes_tensor
from dragoman.compat.kserve.protocol.infer_type import serialize_byte_tensor as serialize_byte_tensor
from dragoman.compat.kserve.protocol.infer_type import to_grpc_parameters as to_grpc_parameters
from dragoman.compat.kserve.protocol.infer_type import to_http_parameters as to_http_parameters
from dragoman.hosting import asgi as asgi
from dragoman.services import endpoint as endpoint
from dragoman.services import service as service
from dragoman.serving.model_server import ModelServer as ModelServer

__version__: str
