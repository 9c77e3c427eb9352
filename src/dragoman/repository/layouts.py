"""From what the operator typed after ``serve`` to the versions of models that lie there.

Reads names of files and ``model.toml``, never a model's contents: what a file could be is asked of ``guess``.

What it takes::

    iris.onnx                  a file: the model iris, version 1
    app:Iris, app.py:Iris      a class: the model Iris, version 1
    iris.mar, iris.tar.gz      a model's archive: the model and version that its manifest says
    iris/                      a model: holds model.toml, numbered versions, or model.onnx (model.joblib, ...)
    models/                    a repository: each folder and each model file in it is a model
    flowers=iris.onnx          any of these but a repository, under another name
"""

import difflib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.archive import holds_manifest, is_archive, is_unpacked
from dragoman.repository.model_archive import name_of, open_model_archive, source_of
from dragoman.repository.naming import call, split_name
from dragoman.repository.spec import (
    MODEL_TOML,
    Description,
    ModelSource,
    Problem,
    check_name,
    read_description,
    split_entry,
)
from dragoman.repository.triton_config import configure, read_config
from dragoman.repository.versions import is_version, missing, wanted

log = logging.getLogger("dragoman.repository")

Guess = Callable[[Path], str | None]
Found = list[ModelSource | Problem]
ReadArchive = Callable[[Path, ModelSettings], Found]
#: What has the last word on a model's description, told the model's folder where it has one.
Configure = Callable[[Description, Path | None], Description]

TRITON_CONFIG: Final = "config.pbtxt"
EMPTY: Final = "there is no model in the folder"
LOST_AND_FOUND: Final = "lost+found"  # on every freshly made volume
PICTURE: Final = """expected one of

  iris.onnx              a model file

  models/                a repository
    iris/
      model.toml           settings (optional)
      1/model.onnx         versions (optional: model.onnx may lie in iris/)
    digits.onnx
"""


def read_archive(path: Path, defaults: ModelSettings) -> Found:
    """The one version in an archive, or in a directory that holds what an archive holds."""
    try:
        return [source_of(open_model_archive(path), defaults, default_name=name_of(path))]
    except (ConfigError, OSError) as error:
        return [_problem(name_of(path), error, path)]


def read(target: str, defaults: ModelSettings, guess: Guess, archive: ReadArchive = read_archive) -> Found:
    """Everything at ``target``, by name and rising version; what can't be loaded is a Problem among it.

    ``guess`` tells a file's runtime, or ``None``. ``archive`` reads archives, for who looks again and again. Raises
    ConfigError when there is nothing at ``target``.
    """
    name, place = split_name(target)
    if name:
        return call(read(place, defaults, guess, archive), name)
    if "://" in target:
        raise ConfigError(f"only local paths can be served, got {target!r}", hint="download the model first")
    path = Path(os.path.abspath(target))  # keeps the name of a symbolic link, which resolve() would follow
    try:
        if target and path.is_file():
            return archive(path, defaults) if is_archive(path) else read_model_file(path, defaults, guess)
        if target and path.is_dir():
            return _read_directory(path, defaults, guess, archive)
    except OSError as error:
        raise ConfigError(f"can't read {target!r}: {error.strerror}") from error
    if ":" in target:
        return [_read_entry(target, defaults, guess)]
    raise ConfigError(f"there is no file or folder {target!r}", hint=_near(path))


def read_model_file(path: Path, defaults: ModelSettings, guess: Guess) -> Found:
    """The one version of the model that is one file."""
    try:
        check_name(path.stem)
        settings = _with_runtime(defaults, path, guess)
    except ConfigError as error:
        return [_problem(path.stem, error, path)]
    return [ModelSource(path.stem, "1", path, "", settings, trusted=True)]


def read_model(
    directory: Path, defaults: ModelSettings, guess: Guess, configure: Configure | None = None
) -> Found:
    """The wanted versions of the model in ``directory``, which is called what the folder is called.

    ``configure`` has the last word on what its ``model.toml`` says.
    """
    name = directory.name
    try:
        check_name(name)
        description = read_description(directory, name, defaults)
        description = read_triton_config(directory, name, description)
        if configure is not None:
            description = configure(description, directory)
        return list(read_versions(directory, description, guess))
    except (ConfigError, OSError) as error:
        return [_problem(name, error, directory, folder=directory)]


def read_triton_config(directory: Path, name: str, description: Description) -> Description:
    """The description with the words of Triton's ``config.pbtxt`` on top, where there is one and no ``model.toml``.

    What has no effect here is logged. Raises ConfigError.
    """
    path = directory / TRITON_CONFIG
    if not path.exists() or (directory / MODEL_TOML).exists():
        return description
    configured = configure(read_config(path), name, description, directory)
    for remark in configured.remarks:
        told = {"model": name, "field": remark.field, "instead": remark.consequence}
        log.warning("a part of a model's configuration has no effect", extra=told)
    return configured.description


def _read_directory(directory: Path, defaults: ModelSettings, guess: Guess, archive: ReadArchive) -> Found:
    if _is_unpacked(directory):
        return archive(directory, defaults)
    folders = [entry for entry in _visible(directory) if entry.is_dir()]
    archives = _archives(directory)
    files = [entry for entry in _model_files(directory, guess) if entry.suffix != ".py"]
    models = any(_is_model(folder, guess) for folder in folders)
    if _is_described(directory) or (not models and _is_single(directory, guess)):
        return read_model(directory, defaults, guess)
    if not models and not files and not archives:
        return [Problem(directory.name, EMPTY, PICTURE, path=directory)]
    found = _read_repository(folders, files, defaults, guess, archive)
    return _with_archives(found, archives, defaults, archive) if archives else found


def _with_archives(
    found: Found, archives: list[Path], defaults: ModelSettings, archive: ReadArchive
) -> Found:
    # What an archive is called is known only when it is read: two may hold the same version of one model.
    places = [(entry.name, entry) for entry in found]
    places += [(path.name, entry) for path in archives for entry in archive(path, defaults)]
    result: Found = []
    groups: dict[tuple[str, str, bool], list[tuple[str, ModelSource | Problem]]] = {}
    for place, entry in places:
        groups.setdefault((entry.name, entry.version, isinstance(entry, ModelSource)), []).append(
            (place, entry)
        )
    for (name, version, loadable), group in groups.items():
        if loadable and len(group) > 1:
            names = ", ".join(place for place, _ in group)
            reason = f"several models are called {name!r} and have the version {version}: {names}"
            result.append(Problem(name, reason, "remove all but one", version))
        else:
            result += [entry for _, entry in group]
    return sorted(result, key=lambda entry: entry.name)


def _read_repository(
    folders: list[Path], files: list[Path], defaults: ModelSettings, guess: Guess, archive: ReadArchive
) -> Found:
    found: dict[str, list[Path]] = {}
    for path in [*folders, *files]:
        found.setdefault(path.name if path in folders else path.stem, []).append(path)
    result: Found = []
    for name, paths in sorted(found.items()):
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            result.append(
                Problem(name, f"several models are called {name!r}: {names}", "rename or remove one")
            )
        elif paths[0] in folders and _is_unpacked(paths[0]):
            result += archive(paths[0], defaults)
        elif paths[0] in folders:
            result += read_model(paths[0], defaults, guess)
        else:
            result += read_model_file(paths[0], defaults, guess)
    return result


def read_versions(directory: Path, description: Description, guess: Guess) -> Iterator[ModelSource | Problem]:
    """The wanted versions of a described model. Raises ConfigError for a policy that is none."""
    # A model without numbered folders is its own version 1.
    places = {int(place.name): place for place in _version_directories(directory)} or {1: directory}
    for number in missing(places, description.settings.versions):
        there = ", ".join(map(str, sorted(places)))
        reason = f"version {number} is wanted and not there; there is {there}"
        yield Problem(directory.name, reason, version=str(number), path=directory, folder=directory)
    for number in wanted(places, description.settings.versions):
        place = places[number]
        try:
            path = _locate(place, description, guess)
            settings = _with_runtime(description.settings, path, guess, description.entry)
        except (ConfigError, OSError) as error:
            yield _problem(directory.name, error, place, str(number), directory)
            continue
        yield ModelSource(
            directory.name,
            str(number),
            path,
            description.entry,
            settings,
            description.options,
            description.inputs,
            description.outputs,
            trusted=True,
            folder=directory,
        )


def _locate(place: Path, description: Description, guess: Guess) -> Path:
    """The one file (or, for an entry, folder) that is the model."""
    if description.file:
        if not (place / description.file).exists():
            raise ConfigError(f"model.toml names the file {description.file!r}, which is not there")
        return place / description.file
    if description.entry:
        return place
    files = _model_files(place, guess)
    runtime = description.settings.runtime
    chosen = [file for file in files if guess(file) == runtime] or files
    if len(chosen) > 1:
        names = ", ".join(file.name for file in chosen)
        raise ConfigError(
            f"several files could be the model: {names}",
            hint=f'name one in model.toml: file = "{chosen[0].name}"',
        )
    if not chosen:
        raise ConfigError(
            "there is no model file in the folder",
            hint="expected one file such as model.onnx, model.joblib or model.py;"
            ' model.toml may name another one with file = "..." and runtime = "..."',
        )
    return chosen[0]


def _with_runtime(settings: ModelSettings, path: Path, guess: Guess, entry: str = "") -> ModelSettings:
    guessed = (guess(path) if path.is_file() else "") or ""
    runtime = settings.runtime or guessed
    if runtime == "python" and guessed == "triton_python":  # "python" is also what Triton calls its backend
        runtime = guessed
    if not runtime and not entry:
        raise ConfigError(
            f"no runtime is known for the file {path.name!r}",
            hint='name one: runtime = "..." in model.toml or under [models]',
        )
    return replace(settings, runtime=runtime)


def _read_entry(target: str, defaults: ModelSettings, guess: Guess) -> ModelSource:
    file, entry = split_entry(target)
    path = Path(os.path.abspath(file)) if file else None
    if path is not None and not path.is_file():
        raise ConfigError(f"there is no file {file!r}", hint=_near(path))
    settings = replace(defaults, runtime=defaults.runtime or (guess(path) if path else "") or "")
    return ModelSource(entry.partition(":")[2], "1", path, entry, settings, trusted=True)


def _is_model(directory: Path, guess: Guess) -> bool:
    try:
        return _is_described(directory) or is_unpacked(directory) or bool(_model_files(directory, guess))
    except OSError:  # can't be looked into: reading it as a model will say why
        return True


def _is_unpacked(directory: Path) -> bool:
    """Whether it is an archive's content, and no ``model.toml`` says otherwise."""
    return is_unpacked(directory) and not (directory / MODEL_TOML).exists()


def _is_described(directory: Path) -> bool:
    described = any((directory / file).exists() for file in (MODEL_TOML, TRITON_CONFIG))
    return described or bool(_version_directories(directory))


def _is_single(directory: Path, guess: Guess) -> bool:
    """Whether the only model file is called model.*, which says that the folder has the name."""
    return [file.stem for file in _model_files(directory, guess)] == ["model"]


def _version_directories(directory: Path) -> list[Path]:
    return [entry for entry in _visible(directory) if is_version(entry.name) and entry.is_dir()]


def _model_files(directory: Path, guess: Guess) -> list[Path]:
    # Python files often lie beside a model without being one (train.py); only model.py is taken to be meant.
    return [
        entry
        for entry in _visible(directory)
        if (entry.suffix != ".py" or entry.name == "model.py")
        and not is_archive(entry)
        and entry.is_file()
        and guess(entry) is not None
    ]


def _archives(directory: Path) -> list[Path]:
    # Other things are called .tar.gz and .model too; only a .mar is meant to be a model whatever it holds.
    return [
        entry
        for entry in _visible(directory)
        if is_archive(entry) and entry.is_file() and (entry.suffix == ".mar" or holds_manifest(entry))
    ]


def _visible(directory: Path) -> list[Path]:
    return sorted(
        entry
        for entry in directory.iterdir()
        if not entry.name.startswith((".", "_"))
        and entry.suffix.lower() != ".md"
        and entry.name != LOST_AND_FOUND
    )


def _problem(
    name: str, error: ConfigError | OSError, path: Path, version: str = "", folder: Path | None = None
) -> Problem:
    if isinstance(error, ConfigError):
        return Problem(name, str(error), error.hint, version, path, folder)
    return Problem(name, f"can't read the folder: {error.strerror}", "", version, path, folder)


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else ""
