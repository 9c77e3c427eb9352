"""``dragoman archive``: packs a model into an archive; takes what torch-model-archiver takes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dragoman.cli.failure import Failure

EXAMPLES = """
Examples:

dragoman archive --model-name mnist --version 1.0 --model-file net.py --serialized-file mnist.pt --handler handler.py

dragoman archive --model-name mnist -v 1.0 --serialized-file mnist.pt --handler image_classifier \
--extra-files index_to_name.json -c model-config.yaml -r requirements.txt --export-path model_store --force
"""


class Format(StrEnum):
    DEFAULT = "default"
    ZIP_STORE = "zip-store"
    TGZ = "tgz"
    NO_ARCHIVE = "no-archive"


class Runtime(StrEnum):
    PYTHON = "python"
    PYTHON3 = "python3"
    LSP = "LSP"


def archive(
    model_name: Annotated[str, typer.Option(metavar="NAME", help="The model's name, and the archive's.")],
    version: Annotated[str, typer.Option("--version", "-v", metavar="TEXT", help="The model's version.")],
    handler: Annotated[
        str, typer.Option(metavar="FILE", help="The handler: file.py, file.py:function, or one's name.")
    ],
    serialized_file: Annotated[
        str, typer.Option(metavar="FILE", help="Weights: .pt or .pth, or an .onnx model.")
    ] = "",
    model_file: Annotated[
        str, typer.Option(metavar="FILE", help="Python file with the model's class, for weights alone.")
    ] = "",
    extra_files: Annotated[
        str, typer.Option(metavar="FILES", help="Further files, folders and patterns, with commas between.")
    ] = "",
    runtime: Annotated[Runtime, typer.Option(help="What runs the handler.")] = Runtime.PYTHON,
    export_path: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the archive goes.", show_default="here")
    ] = None,
    archive_format: Annotated[
        Format, typer.Option(help="A .mar, one without compression, a .tar.gz, or a folder.")
    ] = Format.DEFAULT,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Write over an archive that is there.")
    ] = False,
    requirements_file: Annotated[
        str, typer.Option("--requirements-file", "-r", metavar="FILE", help="What pip should install.")
    ] = "",
    config_file: Annotated[
        str, typer.Option("--config-file", "-c", metavar="FILE", help="The model's model-config.yaml.")
    ] = "",
) -> None:
    """Pack a model into an archive that this server and TorchServe can load."""
    from dragoman.errors import ConfigError
    from dragoman.repository.pack import Contents, pack

    contents = Contents(
        model_name=model_name,
        version=version,
        handler=handler,
        serialized_file=serialized_file,
        model_file=model_file,
        extra_files=extra_files,
        runtime=runtime.value,
        requirements_file=requirements_file,
        config_file=config_file,
    )
    try:
        print(pack(contents, export_path or Path(), archive_format.value, force=force))
    except ConfigError as error:
        raise Failure(str(error), error.hint) from error
