"""What comes in a form: fields and files of ``multipart/form-data``, fields of a URL-encoded one. Knows no method."""

import io
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import python_multipart

from dragoman.errors import InvalidInput

MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came."""

    content: bytes
    filename: str = ""
    content_type: str = ""


def media_type(content_type: str) -> str:
    """The type alone, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def read_form(body: bytes, content_type: str) -> dict[str, Any]:
    """Texts and ``Upload`` by name; the last of several counts. Raises InvalidInput for a body that is no form."""
    if media_type(content_type) == URLENCODED:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    found: dict[str, Any] = {}

    def on_field(field: Any) -> None:
        found[field.field_name.decode()] = (field.value or b"").decode()

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        name = (file.file_name or b"").decode("utf-8", "replace")
        kind = getattr(file, "content_type", None) or ""
        found[file.field_name.decode()] = Upload(file.file_object.read(), name, _text(kind))
        file.close()

    headers = {"Content-Type": content_type.encode("latin-1")}
    try:
        python_multipart.parse_form(headers, io.BytesIO(body), on_field, on_file)
    except (python_multipart.exceptions.FormParserError, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(f"the body is no form: {error}") from error
    return found


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
