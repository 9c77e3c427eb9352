"""A chat that needs no weights: it has read one poem, and goes on from your last word as the poem does.

``dragoman run chat.py``. Always the same answer to the same words, so that one can see what a server does.
"""

import asyncio
import codecs
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from itertools import pairwise

from kserve import ModelServer
from kserve.protocol.rest.openai import ChatPrompt, OpenAIChatAdapterModel
from kserve.protocol.rest.openai.types import (
    ChatCompletionRequest,
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    CompletionRequest,
    UsageInfo,
)

DEFAULT_LENGTH = 24


class Zen(OpenAIChatAdapterModel):
    """Knows which word comes most often after which, in the Zen of Python."""

    def load(self) -> bool:
        words = re.findall(r"[\w'-]+|[.!,*]", read_poem())
        self.after = defaultdict(Counter)
        for word, following in pairwise(words):
            self.after[word.lower()][following] += 1
        self.ready = True
        return self.ready

    def apply_chat_template(self, request: ChatCompletionRequest) -> ChatPrompt:
        return ChatPrompt(prompt=" ".join(str(message.get("content", "")) for message in request.messages))

    async def create_completion(
        self, request: CompletionRequest, raw_request=None, context=None
    ) -> AsyncIterator[CompletionChunk] | Completion:
        prompt = request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt))
        length = request.max_tokens if request.max_tokens is not None else DEFAULT_LENGTH
        if request.stream:
            return self.stream(request, self.write(prompt, length))
        words = list(self.write(prompt, length))
        choice = CompletionChoice(text="".join(words), finish_reason=reason(words, length))
        return Completion(model=request.model, choices=[choice], usage=usage(prompt, len(words)))

    async def stream(
        self, request: CompletionRequest, words: Iterator[str]
    ) -> AsyncIterator[CompletionChunk]:
        """A word a chunk; what the server sends of them, and how fast, is its own business."""
        first = CompletionChunk(model=request.model, choices=[])
        count = 0
        for word in words:
            count += 1
            yield first.model_copy(update={"choices": [CompletionChunkChoice(text=word)]})
            await asyncio.sleep(0)  # as a model that computes elsewhere: others may be answered in between
        yield first.model_copy(update={"choices": [CompletionChunkChoice(text="", finish_reason="stop")]})
        if request.stream_options is not None and request.stream_options.include_usage:
            yield first.model_copy(update={"usage": usage(str(request.prompt), count)})

    def write(self, prompt: str, length: int) -> Iterator[str]:
        """Word for word, each the likeliest that hasn't followed yet."""
        found = [word for word in re.findall(r"[\w'-]+", prompt.lower()) if word in self.after]
        word = found[-1] if found else "beautiful"
        used = set()
        for count in range(length):
            choices = [each for each, _ in self.after[word].most_common() if (word, each) not in used]
            if not choices:
                return
            used.add((word, choices[0]))
            yield choices[0] if choices[0] in ".!," or count == 0 else f" {choices[0]}"
            word = choices[0].lower()


def read_poem() -> str:
    """The poem in the standard library, without the import that prints it."""
    source = find_spec("this").loader.get_source("this")
    return codecs.decode(source.partition('"""')[2].partition('"""')[0], "rot13")


def reason(words: list[str], length: int) -> str:
    return "length" if len(words) == length else "stop"


def usage(prompt: str, written: int) -> UsageInfo:
    read = len(prompt.split())
    return UsageInfo(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


if __name__ == "__main__":
    model = Zen("zen")
    model.load()
    ModelServer().start([model])
