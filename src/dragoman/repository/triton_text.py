"""Protobuf's text format, as ``config.pbtxt`` is written in: from a text to a document with the fields' names. Pure.

Knows what kind of value a field holds, and no meaning of any. Fields and values are checked by ``fields.check``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from dragoman.errors import ConfigError
from dragoman.repository.fields import BOOL, STRING, Document, Enum, Kind, Many, Map, Message, Scalar

#: Messages in messages that a text may have; Triton's own have fewer than ten.
DEEPEST: Final = 50
_TOKEN: Final = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?)(?![\w.]))
    |(?P<word>-?[A-Za-z_]\w*)
    |(?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.S
)
_ESCAPED: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_CLOSING: Final = {"{": "}", "<": ">"}
_TRUE: Final = frozenset({"true", "True", "t", "1"})
_FALSE: Final = frozenset({"false", "False", "f", "0"})


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse_text(text: str, message: Message, where: str) -> Document:
    """The document that a text of ``message`` writes down. Raises ConfigError with the number of a line."""
    return _Parser(text, where).message(message, "", 0)


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._tokens = self._cut()
        self._place = 0

    def message(self, message: Message, closing: str, depth: int) -> Document:
        """Fields up to ``closing``, which is taken, or to the end where it is empty."""
        if depth > DEEPEST:
            self._fail(f"more than {DEEPEST} messages in each other")
        document: Document = {}
        while not self._take(closing):
            name = self._next()
            if name.kind != "word":
                self._fail(f"expected a field's name, got {name.text!r}", name)
            if name.text not in message.fields:
                self._fail(f"there is no field {name.text!r}", name)
            self._field(document, name, message.fields[name.text], depth)
            if not self._take(","):
                self._take(";")
        return document

    def _field(self, document: Document, name: _Token, kind: Kind, depth: int) -> None:
        colon = self._take(":")
        if isinstance(kind, Many):
            document.setdefault(name.text, []).extend(self._values(kind.of, colon, depth))
        elif isinstance(kind, Map):
            entries = document.setdefault(name.text, {})
            for entry in self._values(Message({"key": STRING, "value": kind.of}), colon, depth):
                entries[entry.get("key", "")] = entry.get("value", _empty(kind.of))
        elif name.text in document:
            self._fail(f"the field {name.text!r} is there twice", name)
        else:
            document[name.text] = self._value(kind, colon, depth)

    def _values(self, kind: Kind, colon: bool, depth: int) -> list[Any]:
        if not self._take("["):
            return [self._value(kind, colon, depth)]
        values: list[Any] = []
        while not self._take("]"):
            if values and not self._take(","):
                self._fail("expected ',' or ']'")
            values.append(self._value(kind, True, depth))
        return values

    def _value(self, kind: Kind, colon: bool, depth: int) -> Any:
        token = self._next()
        if isinstance(kind, Message):
            if token.text not in _CLOSING or token.kind != "sign":
                self._fail(f"expected '{{', got {token.text!r}", token)
            return self.message(kind, _CLOSING[token.text], depth + 1)
        if not colon:
            self._fail("expected ':'", token)
        if kind is STRING:
            return self._string(token)
        if kind is BOOL:
            if token.text not in _TRUE | _FALSE:
                self._fail(f"expected true or false, got {token.text!r}", token)
            return token.text in _TRUE
        if isinstance(kind, Enum) and token.kind == "word":
            return token.text
        return self._number(token)

    def _string(self, token: _Token) -> str:
        """Texts that follow each other are one."""
        written = b""
        while True:
            if token.kind != "text":
                self._fail(f"expected a text in quotes, got {token.text!r}", token)
            written += self._unescape(token)
            if self._place == len(self._tokens) or self._tokens[self._place].kind != "text":
                break
            token = self._next()
        try:
            return written.decode()
        except UnicodeDecodeError:
            self._fail("a text that is not UTF-8", token)

    def _unescape(self, token: _Token) -> bytes:
        def replace(match: re.Match[bytes]) -> bytes:
            octal, hexadecimal, short, long, letter = match.groups()
            if octal or hexadecimal:
                return bytes([int(octal or hexadecimal, 8 if octal else 16) & 0xFF])
            if short or long:
                return chr(int(short or long, 16)).encode("utf-8", "surrogatepass")
            return bytes([_ESCAPED[letter.decode()]]) if letter.decode("latin-1") in _ESCAPED else letter

        try:
            return re.sub(_ESCAPE.pattern.encode(), replace, token.text[1:-1].encode(), flags=re.S)
        except (ValueError, OverflowError):
            self._fail("a text with an escape for no character", token)

    def _number(self, token: _Token) -> int | float | str:
        text = "".join(token.text.split())
        if token.kind == "number":
            if re.fullmatch(r"-?0[xX][0-9a-fA-F]+", text):
                return int(text, 16)
            if re.fullmatch(r"-?\d+", text):
                octal = re.fullmatch(r"-?0[0-7]+", text)
                return int(text, 8 if octal else 10)
            return float(text.rstrip("fF"))
        named = {"inf": "Infinity", "infinity": "Infinity", "nan": "NaN", "-inf": "-Infinity"}
        if token.kind != "word" or text.lower() not in named:
            self._fail(f"expected a number, got {token.text!r}", token)
        return named[text.lower()]

    def _cut(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                self._fail(f"unexpected {self._text[at]!r}", _Token("", "", at))
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup, match.group(), at))
            at = match.end()
        return tokens

    def _next(self) -> _Token:
        if self._place == len(self._tokens):
            self._fail("the text ends too early", _Token("", "", len(self._text)))
        self._place += 1
        return self._tokens[self._place - 1]

    def _take(self, sign: str) -> bool:
        """Whether the sign comes now; then it is taken. An empty one is the end."""
        if not sign:
            return self._place == len(self._tokens)
        there = self._place < len(self._tokens) and self._tokens[self._place].text == sign
        self._place += there
        return there

    def _fail(self, what: str, token: _Token | None = None) -> NoReturn:
        at = self._tokens[max(0, self._place - 1)].at if token is None else token.at
        raise ConfigError(f"{what} ({self._where}, line {self._text.count(chr(10), 0, at) + 1})")


def _empty(kind: Kind) -> Any:
    """What an entry of a map has where its value isn't written."""
    values: Mapping[Scalar, Any] = {STRING: "", BOOL: False}
    if isinstance(kind, Message):
        return {}
    return values.get(kind, 0) if isinstance(kind, Scalar) else 0
