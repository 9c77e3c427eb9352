"""English contractions and what they stand for, made from the rules of the language."""

from collections.abc import Iterator

_NOT = [
    "are",
    "could",
    "did",
    "does",
    "do",
    "had",
    "has",
    "have",
    "is",
    "might",
    "must",
    "need",
    "ought",
    "should",
    "was",
    "were",
    "would",
    "dare",
    "may",
]
_PRONOUNS = [
    "i",
    "you",
    "he",
    "she",
    "it",
    "we",
    "they",
    "who",
    "what",
    "that",
    "there",
    "this",
    "these",
    "those",
]
_QUESTIONS = ["where", "when", "why", "how"]
_MAYBE = ["could", "might", "must", "should", "would"]
_ODD = {
    "ain't": "is not",
    "can't": "cannot",
    "can't've": "cannot have",
    "'cause": "because",
    "let's": "let us",
    "ma'am": "madam",
    "o'clock": "of the clock",
    "shan't": "shall not",
    "so've": "so have",
    "to've": "to have",
    "won't": "will not",
    "won't've": "will not have",
    "y'all": "you all",
    "y'all're": "you all are",
    "y'all've": "you all have",
}


def _regular() -> Iterator[tuple[str, str]]:
    for verb in _NOT:
        yield f"{verb}n't", f"{verb} not"
        yield f"{verb}n't've", f"{verb} not have"
    for verb in _MAYBE:
        yield f"{verb}'ve", f"{verb} have"
    for word in _PRONOUNS:
        yield f"{word}'d", f"{word} would"
        yield f"{word}'d've", f"{word} would have"
        yield f"{word}'ll", f"{word} will"
        yield f"{word}'ll've", f"{word} will have"
        yield f"{word}'ve", f"{word} have"
    for word in ("you", "we", "they", "who", "what", "there", "these", "those"):
        yield f"{word}'re", f"{word} are"
    for word in ("he", "she", "it", "who", "what", "that", "there", "this", *_QUESTIONS):
        yield f"{word}'s", f"{word} is"
    for word in _QUESTIONS:
        yield f"{word}'d", f"{word} did"
        yield f"{word}'ll", f"{word} will"
        yield f"{word}'ve", f"{word} have"
        yield f"{word}'re", f"{word} are"
    yield "i'm", "i am"


#: Contraction to words, in lower case, longer ones before those they begin with.
CONTRACTION_MAP = dict(sorted({**dict(_regular()), **_ODD}.items(), key=lambda item: -len(item[0])))
