"""A program with a model that speaks OpenAI's API, whose engine makes its answers, and one that doesn't."""

import asyncio

from kserve import Model, ModelServer
from kserve.protocol.rest.openai import OpenAIGenerativeModel
from kserve.protocol.rest.openai.types import (
    ChatCompletion,
    ChatCompletionChoice,
    ChatMessage,
    Completion,
    CompletionChoice,
)


class Talker(OpenAIGenerativeModel):
    """Says what its engine has told it to say."""

    def __init__(self, name):
        super().__init__(name)
        self.engine = True
        self.word = "nothing"

    async def start_engine(self):
        self.word = "hello"
        print("the engine runs", flush=True)
        await asyncio.Event().wait()

    def stop_engine(self):
        print("the engine has stopped", flush=True)

    async def create_completion(self, request, raw_request=None, context=None):
        return Completion(model=self.name, choices=[CompletionChoice(text=self.word)])

    async def create_chat_completion(self, request, raw_request=None, context=None):
        message = ChatMessage(role="assistant", content=self.word)
        return ChatCompletion(model=self.name, choices=[ChatCompletionChoice(message=message)])


class Echo(Model):
    """Answers what it is sent."""

    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None):
        return {"predictions": payload["instances"]}


if __name__ == "__main__":
    ModelServer().start([Talker("talker"), Echo("echo")])
