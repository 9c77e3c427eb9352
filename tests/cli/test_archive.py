"""``dragoman archive`` beside the real torch-model-archiver: the same files, the same manifest."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dragoman.cli import archive
from dragoman.cli.failure import Failure
from dragoman.config import ModelSettings
from dragoman.repository.layouts import read
from dragoman.repository.pack import ARCHIVER_VERSION
from dragoman.repository.spec import ModelSource

FORMATS = {"default": ".mar", "zip-store": ".mar", "tgz": ".tar.gz", "no-archive": ""}

app = typer.Typer()
app.command()(archive.archive)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything an archive may hold."""
    place = tmp_path / "project"
    for name, text in {
        "net.py": "class Net: ...",
        "weights/mnist.pt": "weights",
        "my_handler.py": "def handle(data, context): ...",
        "requirements.txt": "six",
        "config/model-config.yaml": "batchSize: 2",
        "extra/labels.json": "{}",
        "extra/lib/util.py": "",
        "extra/lib/deep/er.txt": "deeper",
        "extra/lib/__pycache__/util.pyc": "junk",
        "extra/.git/config": "junk",
        "extra/.hidden": "kept",
        "extra/__MACOSX/x": "junk",
        "data/a.txt": "a",
        "data/b.txt": "b",
        "data/b.csv": "b",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place


def ours(*arguments: str) -> Path:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return Path(done.stdout.strip())


def refusal(*arguments: str) -> Failure:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, Failure), (done.exception, done.output)
    return done.exception


def theirs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_archiver.model_packaging", *arguments]
    environ = {**os.environ, "TMPDIR": str(Path.cwd().parent / "tmp")}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def content(path: Path) -> dict[str, bytes]:
    """Every file by its name in the archive."""
    if path.is_dir():
        return {
            file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
        }
    if path.suffix == ".mar":
        with zipfile.ZipFile(path) as zipped:
            return {name: zipped.read(name) for name in zipped.namelist()}
    with tarfile.open(path) as tarred:
        members = [(member, tarred.extractfile(member)) for member in tarred.getmembers()]
        return {member.name: file.read() for member, file in members if file is not None}


def comparable(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    files = content(path)
    (name,) = [name for name in files if name.endswith("MAR-INF/MANIFEST.json")]
    document = json.loads(files[name])
    assert list(document) == ["createdOn", "runtime", "model", "archiverVersion"]
    assert len(document.pop("createdOn")) == len("22/11/2026 01:19:34")
    files[name] = json.dumps(document).encode()  # keeps the keys' order
    return files, document


EVERYTHING = (
    *("--model-name", "mnist", "--version", "1.0", "--model-file", "net.py"),
    *("--serialized-file", "weights/mnist.pt", "--handler", "my_handler.py"),
    *("--extra-files", "extra,data/*.txt,net.py", "--requirements-file", "requirements.txt"),
    *("--config-file", "config/model-config.yaml"),
)


@pytest.mark.parametrize("archive_format", FORMATS)
@pytest.mark.parametrize(
    "arguments",
    [
        EVERYTHING,
        ("--model-name", "a.b-c_1", "-v", "2", "--handler", "image_classifier"),
        ("--model-name", "m", "-v", "1", "--handler", "my_handler"),
        ("--model-name", "m", "-v", "1", "--handler", "my_handler:handle", "--runtime", "python3"),
        ("--model-name", "m", "-v", "1", "--handler", "./my_handler.py", "-r", "requirements.txt"),
        ("--model-name", "m", "-v", "", "--handler", "base_handler", "-c", "config/model-config.yaml"),
        ("--model-name", "m", "-v", "1", "--handler", "BaseHandler", "--runtime", "LSP"),
        ("--model-name", "m", "-v", "1", "--handler", "base_handler", "--extra-files", "data/*.none"),
        (
            "--model-name",
            "m",
            "-v",
            "1",
            "--handler",
            "base_handler",
            "--extra-files",
            "data/?.csv,data/[ab].txt",
        ),
    ],
    ids=lambda arguments: " ".join(arguments[4:])[:40],
)
def test_it_packs_what_torch_model_archiver_packs(
    archive_format: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    for place in ("ours", "theirs"):
        (tmp_path / place).mkdir()
    more = ("--archive-format", archive_format, "--export-path")
    done = theirs(*arguments, *more, str(tmp_path / "theirs"))
    assert done.returncode == 0, done.stderr
    made = ours(*arguments, *more, str(tmp_path / "ours"))
    (expected,) = (tmp_path / "theirs").iterdir()
    assert made.parent == tmp_path / "ours"
    assert list((tmp_path / "ours").iterdir()) == [made]
    assert made.name == expected.name == arguments[1] + FORMATS[archive_format]
    assert comparable(made) == comparable(expected)


def test_the_version_in_the_manifest_is_that_of_the_archiver_compared_with() -> None:
    assert metadata.version("torch-model-archiver") == ARCHIVER_VERSION


@pytest.mark.parametrize("archive_format", FORMATS)
def test_what_it_packs_is_served(archive_format: str, tmp_path: Path) -> None:
    made = ours(*EVERYTHING, "--archive-format", archive_format, "--export-path", str(tmp_path))
    (source,) = read(str(made), ModelSettings(), lambda path: None)
    assert isinstance(source, ModelSource)
    assert (source.name, source.version, source.settings.max_batch) == ("mnist", "1.0", 2)
    assert source.path is not None
    assert (source.path / "lib" / "deep" / "er.txt").read_text() == "deeper"


@pytest.mark.parametrize("archive_format", ["default", "zip-store", "tgz"])
def test_the_same_files_are_the_same_bytes(archive_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = ours(*EVERYTHING, "--archive-format", archive_format).read_bytes()
    os.utime("net.py", (1, 1))
    second = ours(*EVERYTHING, "--archive-format", archive_format, "--force").read_bytes()
    assert first == second
    assert b"14/11/2023 22:13:20" in content(Path(f"mnist{FORMATS[archive_format]}")).popitem()[1]


@pytest.mark.parametrize("archive_format", FORMATS)
def test_what_is_there_is_written_over_only_when_forced(archive_format: str) -> None:
    arguments = (
        "--model-name",
        "m",
        "-v",
        "1",
        "--handler",
        "my_handler.py",
        "--archive-format",
        archive_format,
    )
    made = ours(*arguments)
    before = content(made)
    Path("my_handler.py").write_text("changed")
    failure = refusal(*arguments)
    assert str(failure) == f"m{FORMATS[archive_format]} already exists."
    assert failure.hint == "use --force to write over it"
    assert theirs(*arguments).returncode == 1
    assert content(made) == before
    ours(*arguments, "-f")
    assert b"changed" in content(made).values()


def test_a_folder_in_the_archives_place_is_never_written_over() -> None:
    Path("m.mar").mkdir()
    failure = refusal("--model-name", "m", "-v", "1", "--handler", "base_handler", "--force")
    assert str(failure) == "m.mar already exists."


@pytest.mark.parametrize("name", ["a b", "../x", "-x", "_x", "", "x/y", "ü", "x\n"])
def test_a_name_with_special_characters_is_refused(name: str) -> None:
    arguments = (f"--model-name={name}", "-v", "1", "--handler", "base_handler")
    assert str(refusal(*arguments)).startswith("Model name contains special characters.\n")
    if name != "x\n":  # which the real one lets pass
        assert theirs(*arguments).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--handler", "none.py"), "there is no file 'none.py' (--handler)"),
        (("--handler", "none"), "there is no file 'none.py' (--handler)"),
        (("--handler", "none:f"), "there is no file 'none.py' (--handler)"),
        (("--handler", "none", "--runtime", "LSP"), "there is no file 'none.so' (--handler)"),
        (
            ("--handler", "base_handler", "--serialized-file", "x.pt"),
            "there is no file 'x.pt' (--serialized-file)",
        ),
        (("--handler", "base_handler", "--model-file", "x.py"), "there is no file 'x.py' (--model-file)"),
        (("--handler", "base_handler", "--extra-files", "net.py,x"), "there is no file 'x' (--extra-files)"),
        (("--handler", "base_handler", "-r", "x.txt"), "there is no file 'x.txt' (--requirements-file)"),
        (("--handler", "base_handler", "-c", "x.yaml"), "there is no file 'x.yaml' (--config-file)"),
        (("--handler", "base_handler", "--export-path", "x"), "Given export-path x is not a directory."),
    ],
)
def test_what_is_not_there_is_refused_as_it_is_upstream(arguments: tuple[str, ...], message: str) -> None:
    before = sorted(Path().rglob("*"))
    arguments = ("--model-name", "m", "-v", "1", *arguments)
    assert str(refusal(*arguments)).startswith(message)
    assert sorted(Path().rglob("*")) == before
    assert theirs(*arguments).returncode == 1


@pytest.mark.parametrize("missing", ["--model-name", "--version", "--handler"])
def test_three_flags_are_required(missing: str) -> None:
    arguments = {"--model-name": "m", "--version": "1", "--handler": "base_handler"}
    del arguments[missing]
    flat = [word for pair in arguments.items() for word in pair]
    assert CliRunner().invoke(app, flat).exit_code == 2
    assert theirs(*flat).returncode == 2


@pytest.mark.parametrize(("flag", "value"), [("--runtime", "ruby"), ("--archive-format", "rar")])
def test_only_known_words_are_taken(flag: str, value: str) -> None:
    arguments = ("--model-name", "m", "--version", "1", "--handler", "base_handler", flag, value)
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert theirs(*arguments).returncode == 2


def test_a_handler_with_a_function_may_have_its_suffix() -> None:
    # Upstream looks for a file called "my_handler.py:handle".
    made = ours("--model-name", "m", "-v", "1", "--handler", "my_handler.py:handle")
    assert set(content(made)) == {"my_handler.py", "MAR-INF/MANIFEST.json"}
    assert comparable(made)[1]["model"]["handler"] == "my_handler.py:handle"


def test_folders_with_a_folder_in_common_are_merged() -> None:
    # Upstream fails with FileExistsError.
    Path("more/lib").mkdir(parents=True)
    Path("more/lib/other.py").write_text("")
    made = ours("--model-name", "m", "-v", "1", "--handler", "base_handler", "--extra-files", "extra, more")
    assert {"lib/util.py", "lib/other.py"} <= set(content(made))


def test_names_that_differ_only_by_case_are_refused() -> None:
    Path("more").mkdir()
    Path("more/LABELS.json").write_text("")
    failure = refusal(
        "--model-name", "m", "-v", "1", "--handler", "base_handler", "--extra-files", "extra,more"
    )
    assert "would be one file on other machines" in str(failure)


def test_links_are_followed_but_not_in_circles() -> None:
    Path("extra/link.txt").symlink_to("../net.py")
    made = ours("--model-name", "m", "-v", "1", "--handler", "base_handler", "--extra-files", "extra")
    assert content(made)["link.txt"] == b"class Net: ..."
    Path("extra/lib/circle").symlink_to("..")
    failure = refusal("--model-name", "n", "-v", "1", "--handler", "base_handler", "--extra-files", "extra")
    assert "is a link to a folder around it" in str(failure)


def test_an_unpacked_archive_can_be_packed_again() -> None:
    folder = ours(*EVERYTHING, "--archive-format", "no-archive")
    made = ours(
        "--model-name", "again", "-v", "2", "--handler", "my_handler.py", "--extra-files", str(folder)
    )
    files, document = comparable(made)
    assert document["model"] == {"modelName": "again", "handler": "my_handler.py", "modelVersion": "2"}
    assert files.keys() == content(folder).keys()


def test_a_failure_while_writing_leaves_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    failure = refusal("--model-name", "m", "-v", "1", "--handler", "my_handler.py")
    assert str(failure) == "can't pack m.mar: No space left on device"
    assert not list(project.glob("*m.mar*"))
