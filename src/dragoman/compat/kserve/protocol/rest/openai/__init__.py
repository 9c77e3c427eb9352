"""Models behind OpenAI's API: completions, chat, embeddings, rerank; with types of our own, and no vLLM.

Needs the extra ``openai``.
"""

from typing import TYPE_CHECKING, Any

from dragoman.compat.kserve.protocol.rest.openai.errors import OpenAIError
from dragoman.compat.kserve.protocol.rest.openai.openai_chat_adapter_model import OpenAIChatAdapterModel
from dragoman.compat.kserve.protocol.rest.openai.openai_model import (
    AsyncMappingIterator,
    ChatPrompt,
    OpenAIEncoderModel,
    OpenAIGenerativeModel,
    OpenAIModel,
)
from dragoman.compat.kserve.protocol.rest.openai.types import (
    ChatCompletionMessageParam,
    ChatCompletionRequest,
    CompletionRequest,
)

if TYPE_CHECKING:
    from dragoman.compat.kserve.protocol.rest.openai.openai_proxy_model import OpenAIProxyModel

__all__ = [
    "AsyncMappingIterator",
    "ChatCompletionMessageParam",
    "ChatCompletionRequest",
    "ChatPrompt",
    "CompletionRequest",
    "OpenAIChatAdapterModel",
    "OpenAIEncoderModel",
    "OpenAIError",
    "OpenAIGenerativeModel",
    "OpenAIModel",
    "OpenAIProxyModel",
]


def __getattr__(name: str) -> Any:
    """The proxy brings an HTTP client along, which other models don't need."""
    if name == "OpenAIProxyModel":
        from dragoman.compat.kserve.protocol.rest.openai.openai_proxy_model import OpenAIProxyModel

        return OpenAIProxyModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
