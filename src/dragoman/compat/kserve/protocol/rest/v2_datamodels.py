"""KServe's data models of the v2 protocol. Needs pydantic; the server itself has no use for them."""

from typing import TYPE_CHECKING

from dragoman.compat.need import need

if not TYPE_CHECKING:
    need("pydantic", "kserve.protocol.rest.v2_datamodels")
from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt

InferParameter = StrictFloat | StrictInt | StrictBool | str
Parameters = dict[str, InferParameter]


class ServerLiveResponse(BaseModel):
    live: bool


class ServerReadyResponse(BaseModel):
    ready: bool


class ServerMetadataResponse(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ListModelsResponse(BaseModel):
    models: list[str]


class MetadataTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadataResponse(BaseModel):
    name: str
    versions: list[str] | None = None
    platform: str
    inputs: list[MetadataTensor]
    outputs: list[MetadataTensor]


class ModelReadyResponse(BaseModel):
    name: str
    ready: bool


class RequestInput(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list  # type: ignore[type-arg] # whatever JSON has


class RequestOutput(BaseModel):
    name: str
    parameters: Parameters | None = None


class ResponseOutput(RequestInput):
    """An output of an answer has what an input of a request has."""


class InferenceRequest(BaseModel):
    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None = None


class InferenceResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str | None = None
    id: str
    parameters: Parameters | None = None
    outputs: list[ResponseOutput]
