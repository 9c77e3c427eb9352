"""Asks the two models with OpenAI's own client: ``python client.py http://localhost:8080``."""

import sys

import numpy as np
from openai import OpenAI

TEXTS = ["a cat sits on the sofa", "a kitten rests on the couch", "the stock market fell today"]


def main(url: str) -> None:
    with OpenAI(base_url=f"{url}/openai/v1", api_key="none") as client:
        names = [model.id for model in client.models.list()]
        print("models:", ", ".join(names))
        if "minilm" in names:
            answer = client.embeddings.create(model="minilm", input=TEXTS)
            vectors = np.array([item.embedding for item in answer.data])
            for text, likeness in zip(TEXTS, vectors @ vectors[0], strict=True):
                print(f"{likeness:.2f}  {text}")
        if "zen" in names:
            messages = [{"role": "user", "content": "What is better than implicit?"}]
            for chunk in client.chat.completions.create(model="zen", messages=messages, stream=True):
                print(chunk.choices[0].delta.content, end="", flush=True)
            print()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080")
