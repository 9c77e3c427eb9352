"""What a model raises, or returns, when OpenAI's API has a word for its failure."""

from http import HTTPStatus

from dragoman.compat.kserve.protocol.rest.openai.types import Error, ErrorResponse


class OpenAIError(Exception):
    """Raised by a model: the client is told ``response``, which is a whole error or only its message (500).

    ``status`` is the HTTP status where the error's own code is no number, as those of other servers.
    """

    def __init__(self, response: ErrorResponse | str, status: int | None = None) -> None:
        super().__init__(response if isinstance(response, str) else response.error.message)
        self.response = response
        self.status = status

    def __str__(self) -> str:
        return self.response if isinstance(self.response, str) else self.response.error.message


def create_error_response(
    message: str,
    err_type: str = "BadRequestError",
    param: str = "",
    status_code: HTTPStatus = HTTPStatus.BAD_REQUEST,
) -> ErrorResponse:
    """An error to raise in an ``OpenAIError``, or to return in the place of an answer."""
    error = Error(message=message, type=err_type, param=param, code=str(int(status_code)))
    return ErrorResponse(error=error)
