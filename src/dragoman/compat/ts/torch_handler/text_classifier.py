"""Classifies texts with a model over bags of embeddings: ``model(tokens, offsets)``."""

from typing import Any

from dragoman.compat.ts.handler_utils.text_utils import ngrams_iterator
from dragoman.compat.ts.torch_handler.base_handler import torch
from dragoman.compat.ts.torch_handler.explain import integrated_gradients
from dragoman.compat.ts.torch_handler.request_envelope.base import content_of
from dragoman.compat.ts.torch_handler.text_handler import TextHandler
from dragoman.compat.ts.utils.util import PredictionException, map_class_to_label


class TextClassifier(TextHandler):
    """``{label: probability}`` of every class. All texts of a batch go in one call of the model."""

    ngrams = 2

    def preprocess(self, data: Any) -> Any:
        """The numbers of all texts' tokens in a row, and where each text begins."""
        texts = [self._numbers(_text(row)) for row in data]
        starts = [0]
        for numbers in texts[:-1]:
            starts.append(starts[-1] + len(numbers))
        tokens = [number for numbers in texts for number in numbers]
        return (
            torch.as_tensor(tokens, dtype=torch.int64, device=self.device),
            torch.as_tensor(starts, dtype=torch.int64, device=self.device),
        )

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        tokens, offsets = data if isinstance(data, tuple) else (data, torch.zeros(1, dtype=torch.int64))
        return super().inference(tokens, offsets, *args, **kwargs)

    def postprocess(self, data: Any) -> Any:
        """Each text's classes and their probabilities."""
        return map_class_to_label(torch.softmax(data, dim=1).tolist(), self.mapping)

    def get_insights(self, tensor_data: Any, _: Any, target: Any = 0) -> Any:
        """How much each token added to the class ``target``, with the tokens as the model saw them."""
        tokens, offsets = tensor_data
        embedding = next((each for each in self.model.modules() if hasattr(each, "embedding_dim")), None)
        if embedding is None:
            raise PredictionException("the model has no embedding to explain it by", 501)
        return [integrated_gradients(self.model, tokens, target, layer=embedding, extra=(offsets,))]

    def _numbers(self, text: str) -> list[int]:
        for clean in (
            self._remove_html_tags,
            str.lower,
            self._expand_contractions,
            self._remove_accented_characters,
            self._remove_punctuation,
        ):
            text = clean(text)
        return [self._number(token) for token in ngrams_iterator(self._tokenize(text), self.ngrams)]

    def _number(self, token: str) -> int:
        vocabulary = self.source_vocab
        known = not isinstance(vocabulary, dict) or token in vocabulary
        return int(vocabulary[token] if known else vocabulary.get("<unk>", 0))


def _text(row: Any) -> str:
    text = content_of(row)
    if isinstance(text, dict):
        text = text.get("text")
    if isinstance(text, bytes | bytearray):
        text = text.decode()
    if not isinstance(text, str):
        raise PredictionException("the request has no text", 400)
    return text
