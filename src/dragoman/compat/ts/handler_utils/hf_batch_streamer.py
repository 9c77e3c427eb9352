"""Streams the words of a language model of Hugging Face's transformers, for a batch of prompts at once."""

from collections.abc import Iterator
from queue import Queue
from typing import Any


class TextIteratorStreamerBatch:
    """Given to ``generate(streamer=…)`` in a thread; iterating yields a list with every prompt's new text.

    ``tokenizer`` decodes a row of token numbers. The prompts' own tokens are left out with ``skip_prompt``.
    """

    def __init__(
        self,
        tokenizer: Any,
        batch_size: int = 1,
        skip_prompt: bool = False,
        timeout: float | None = None,
        **decode_kwargs: Any,
    ) -> None:
        self.tokenizer, self.batch_size = tokenizer, batch_size
        self._skip, self._timeout, self._decode = skip_prompt, timeout, decode_kwargs
        self._tokens: list[list[int]] = [[] for _ in range(batch_size)]
        self._sent = [0] * batch_size
        self._texts: Queue[list[str] | None] = Queue()

    def put(self, value: Any) -> None:
        """The model's next tokens: one a prompt, or at first all of the prompts'."""
        rows = value.tolist()
        rows = rows if rows and isinstance(rows[0], list) else [[token] for token in rows]
        if self._skip:
            self._skip = False
            return
        for known, new in zip(self._tokens, rows, strict=True):
            known.extend(new)
        self._texts.put(self._new(whole=False))

    def end(self) -> None:
        """The model is done."""
        self._texts.put(self._new(whole=True))
        self._texts.put(None)

    def __iter__(self) -> Iterator[list[str]]:
        while (texts := self._texts.get(timeout=self._timeout)) is not None:
            yield texts

    def _new(self, whole: bool) -> list[str]:
        """The text since the last time; a word that may go on is kept back until it is whole."""
        found = []
        for row, tokens in enumerate(self._tokens):
            text = self.tokenizer.decode(tokens, **self._decode)
            end = len(text) if whole or text.endswith("\n") else text.rfind(" ") + 1
            found.append(text[self._sent[row] : max(end, self._sent[row])])
            self._sent[row] = max(end, self._sent[row])
        return found
