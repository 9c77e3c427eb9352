"""What handlers for texts have in common: a vocabulary, and ways of cleaning text. Needs no torchtext."""

import os
import re
import string
import unicodedata
from collections.abc import Callable
from typing import Any

from dragoman.compat.ts.handler_utils.text_utils import get_tokenizer
from dragoman.compat.ts.torch_handler.base_handler import BaseHandler, load_weights
from dragoman.compat.ts.torch_handler.contractions import CONTRACTION_MAP

_MARKUP = re.compile(r"<[^<>]*>|&(?:[a-z0-9]+|#[0-9]{1,6}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_CONTRACTED = re.compile("|".join(map(re.escape, CONTRACTION_MAP)), re.IGNORECASE)


class TextHandler(BaseHandler):
    """Loads ``source_vocab.pt`` of the archive (or what the manifest calls ``sourceVocab``).

    The vocabulary maps a token to its number: a dict, or an object with ``[]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.source_vocab: Any = None
        self.tokenizer: Callable[[str], list[str]] = get_tokenizer("basic_english")

    def initialize(self, context: Any) -> None:
        super().initialize(context)
        self.initialized = False
        self.source_vocab = load_weights(self.get_source_vocab_path(context), "cpu")
        self.initialized = True

    def get_source_vocab_path(self, ctx: Any) -> str:
        """Where the vocabulary is; raises RuntimeError when the archive has none."""
        name = self.manifest["model"].get("sourceVocab") or "source_vocab.pt"
        path = os.path.join(ctx.system_properties["model_dir"], name)
        if not os.path.isfile(path):
            raise RuntimeError(f"the archive has no vocabulary: {name} is missing")
        return path

    def _expand_contractions(self, text: str) -> str:
        """``don't`` as ``do not``; the first letter keeps its case, other apostrophes go."""

        def expand(found: re.Match[str]) -> str:
            return found[0][0] + CONTRACTION_MAP[found[0].lower()][1:]

        return _CONTRACTED.sub(expand, text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).replace("'", "")

    def _remove_accented_characters(self, text: str) -> str:
        return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()

    def _remove_html_tags(self, text: str) -> str:
        return _MARKUP.sub("", text)

    def _remove_punctuation(self, text: str) -> str:
        return text.translate(str.maketrans("", "", string.punctuation))

    def _remove_puncutation(self, text: str) -> str:
        """The same under the name that handlers of old call it by."""
        return self._remove_punctuation(text)

    def _tokenize(self, text: str) -> list[str]:
        return self.tokenizer(text)
