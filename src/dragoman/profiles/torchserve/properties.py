"""Java's ``.properties`` text, read and written as ``java.util.Properties`` does. Knows no key's meaning.

Pure: text in, texts out. What it takes, beyond ``key=value``::

    # or ! begins a comment             a comment never goes on in the next line
    key : value   key value   key       the first of = : or blank ends the key
    models = {\\                         an odd number of backslashes at the end: the line goes on,
      "a": 1}                           without the blanks the next one begins with
    a\\:b\\=c = \\t\\n\\r\\f \\u00fc             escapes; of any other character it is that character
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from dragoman.errors import ConfigError

_BLANKS: Final = " \t\f"
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_WRITTEN: Final = {
    "\t": "\\t",
    "\n": "\\n",
    "\r": "\\r",
    "\f": "\\f",
    "\\": "\\\\",
    "#": "\\#",
    "!": "\\!",
} | {
    "=": "\\=",
    ":": "\\:",
}
_ESCAPED: Final = re.compile(r"\\(?:u(.{0,4})|(.?))", re.DOTALL)
#: TorchServe's ConfigManager: two dollar signs, a name of two characters at least, two dollar signs.
_VARIABLE: Final = re.compile(r"\$\$([^$]{2,})\$\$")


def parse(text: str) -> dict[str, str]:
    """Every key and its value; of a key that is there twice the last. Raises ConfigError for a broken ``\\u``.

    Blanks at the end of a value belong to it.
    """
    values = {}
    for line in _lines(text):
        key, value = _split(line)
        values[_unescape(key)] = _unescape(value)
    return values


def dump(values: Mapping[str, str]) -> str:
    """The text that ``parse`` reads back as the same values, in ASCII, one line each."""
    return "".join(f"{_escape(key, key=True)}={_escape(value, key=False)}\n" for key, value in values.items())


def expand(values: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """``values`` with each ``$$NAME$$`` replaced by the environment's NAME. Raises ConfigError for one not set."""
    return {key: _expanded(key, value, environ) for key, value in values.items()}


def _expanded(key: str, value: str, environ: Mapping[str, str]) -> str:
    def look_up(match: re.Match[str]) -> str:
        name = match[1]
        if name not in environ:
            raise ConfigError(f"{key} asks for the environment variable {name!r}, which is not set")
        return environ[name]

    return _VARIABLE.sub(look_up, value)


def _lines(text: str) -> Iterator[str]:
    """Logical lines: continued ones joined, comments and empty ones left out, blanks before them cut off."""
    logical, goes_on = "", False
    for line in re.split(r"\r\n|\r|\n", text):
        part = line.lstrip(_BLANKS)
        if not logical and (not part or part[0] in "#!"):
            goes_on = False
            continue
        goes_on = (len(part) - len(part.rstrip("\\"))) % 2 == 1
        logical += part[:-1] if goes_on else part
        if not goes_on:
            yield logical
            logical = ""
    if logical:
        yield logical


def _split(line: str) -> tuple[str, str]:
    """Key and value, both still escaped."""
    end, escaped = 0, False
    while end < len(line) and (escaped or line[end] not in "=: \t\f"):
        escaped = line[end] == "\\" and not escaped
        end += 1
    value = line[end:].lstrip(_BLANKS)
    if value[:1] in ("=", ":"):
        value = value[1:].lstrip(_BLANKS)
    return line[:end], value


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _ESCAPED.sub(_character, text)
    # Java's characters are UTF-16 units: one above U+FFFF is written as two.
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _character(match: re.Match[str]) -> str:
    digits, other = match[1], match[2]
    if digits is None:
        return _ESCAPES.get(other, other)
    if re.fullmatch("[0-9a-fA-F]{4}", digits) is None:
        raise ConfigError(f"malformed \\uxxxx encoding, got {match[0]!r}", hint="write a backslash as two")
    return chr(int(digits, 16))


def _escape(text: str, *, key: bool) -> str:
    written = []
    for place, character in enumerate(text):
        if character == " ":
            written.append("\\ " if key or place == 0 else " ")
        elif character in _WRITTEN:
            written.append(_WRITTEN[character])
        elif " " < character < "\x7f":
            written.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass").hex().upper()
            written.append("".join(f"\\u{units[n : n + 4]}" for n in range(0, len(units), 4)))
    return "".join(written)
