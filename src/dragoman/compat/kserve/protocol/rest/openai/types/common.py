"""What every OpenAI type has in common, usage, models and errors, as the wire has them. Knows no endpoint."""

import time
import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def new_id(prefix: str) -> str:
    """An identifier such as ``cmpl-0123…``."""
    return f"{prefix}-{uuid.uuid4().hex}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


class OpenAIBaseModel(BaseModel):
    """Fields that nobody knows are kept: clients and engines have more of them than the API's reference."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class OpenAIRequest(OpenAIBaseModel):
    """What every request has. ``model`` is the served model's name."""

    model: str
    user: str | None = None
    request_id: str = Field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def params(self) -> "OpenAIRequest":
        """The request itself: where models made for KServe 0.13 look for its fields."""
        return self


class StreamOptions(OpenAIBaseModel):
    """``include_usage`` asks for one more chunk, with usage and without choices, before the stream ends."""

    include_usage: bool | None = True
    continuous_usage_stats: bool | None = False


class PromptTokenUsageInfo(OpenAIBaseModel):
    cached_tokens: int | None = None


class UsageInfo(OpenAIBaseModel):
    """Tokens that were read and written."""

    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: PromptTokenUsageInfo | None = None


class Model(OpenAIBaseModel):
    """A line in the list of models."""

    id: str
    object: str = "model"
    created: int = Field(default_factory=now)
    owned_by: str = ""


class ModelList(OpenAIBaseModel):
    object: str = "list"
    data: list[Model] = Field(default_factory=list)


class Error(OpenAIBaseModel):
    """Why there is no answer. ``code`` is the HTTP status as text, unless another server had a word of its own."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    code: str | None = None
    message: str
    param: str | None = None
    type: str = ""


class ErrorResponse(OpenAIBaseModel):
    error: Error


#: A JSON object whose keys are somebody else's business.
Document = dict[str, Any]
