"""``dragoman init``: a file to begin with, which serves at once."""

from pathlib import Path
from typing import Annotated, Final

import typer

from dragoman.cli.failure import Failure

EXAMPLES = """
Examples:

dragoman init

dragoman init my-service && dragoman serve my-service/app.py --reload
"""

FILE: Final = "app.py"
#: What is written: short enough to be read whole, and a model for every dialect.
START: Final = '''import dragoman


@dragoman.service(title="Words", version="0.1")
class Words:
    def startup(self):
        self.args = {"separator": " "}

    @dragoman.endpoint(example={"texts": ["hello world"]}, batch=True)
    def predict(self, texts: list[str]) -> list[int]:
        """How many words each text has."""
        return [len(text.split(self.args["separator"])) for text in texts]
'''


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the file goes; made if it isn't there.")
    ] = Path("."),
) -> None:
    """Write a small typed service to begin with."""
    file = folder / FILE
    if file.exists():
        raise Failure(f"{file} is there already", hint="name another folder: dragoman init my-service")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(START, "utf-8")
    except OSError as error:
        raise Failure(f"{file} can't be written: {error.strerror}") from error
    print(f"wrote {file}")
    print(f"\nserve it:  dragoman serve {file} --reload")
    print(
        "ask it:    curl localhost:8080/predict -H 'content-type: application/json' -d '{\"texts\": [\"hello world\"]}'"
    )
    print("see it:    http://localhost:8080/docs")
