"""Texts as tokens, the way that vocabularies of text models were made. Needs no torchtext."""

import re
from collections.abc import Callable, Iterator, Sequence

_APART = re.compile(r"[\"'.,()!?]|[;:]|\s+")


def get_tokenizer(
    tokenizer: str | Callable[[str], list[str]] | None, language: str = "en"
) -> Callable[[str], list[str]]:
    """``None`` splits at spaces, ``"basic_english"`` parts words and signs; a function stays what it is.

    Raises ValueError for the name of a library: its own tokenizer can be given as a function.
    """
    if tokenizer is None:
        return str.split
    if callable(tokenizer):
        return tokenizer
    if tokenizer != "basic_english":
        raise ValueError(f"there is no tokenizer {tokenizer!r} here: give a function instead")
    if language != "en":
        raise ValueError("basic_english is for English (en)")
    return basic_tokens


def basic_tokens(text: str) -> list[str]:
    """Words and signs in lower case: signs stand alone; double quotes, colons and semicolons go."""

    def split(found: re.Match[str]) -> str:
        return f" {found[0]} " if found[0] in "'.,()!?" else " "

    return _APART.sub(split, re.sub(r"<br\s*/?>", " ", text.lower())).split()


def ngrams_iterator(token_list: Sequence[str], ngrams: int) -> Iterator[str]:
    """The tokens, then each two, three … ``ngrams`` neighbours joined by a space."""
    yield from token_list
    for length in range(2, ngrams + 1):
        for first in range(len(token_list) - length + 1):
            yield " ".join(token_list[first : first + length])
