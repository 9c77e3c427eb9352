"""Repositories on disk, read through ``read`` alone."""

from pathlib import Path

import pytest

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.layouts import read
from dragoman.repository.spec import ModelSource, Problem
from dragoman.runtimes import table

SUFFIXES = {".onnx": "onnx", ".joblib": "sklearn", ".py": "python"}


def guess(path: Path) -> str | None:
    return SUFFIXES.get(path.suffix)


def make(root: Path, *names: str) -> Path:
    """Files (and folders, where a name ends in a slash) under ``root``; ``name=text`` gives the text."""
    for name in names:
        file, _, text = name.partition("=")
        path = root / file
        (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not file.endswith("/"):
            path.write_text(text, encoding="utf-8")
    return root


def told(target: Path | str, defaults: ModelSettings | None = None) -> list[tuple[str, str, str]]:
    """(name, version, file) of each model; of a problem (name, version, "!reason")."""
    return [
        (found.name, found.version, f"!{found.reason}" if isinstance(found, Problem) else place(found))
        for found in read(str(target), defaults or ModelSettings(), guess)
    ]


def place(source: ModelSource) -> str:
    if source.path is None:
        return source.entry
    assert source.path.is_absolute()
    assert source.trusted
    return source.path.name


def only(target: Path | str) -> ModelSource:
    (found,) = read(str(target), ModelSettings(), guess)
    assert isinstance(found, ModelSource), found
    return found


def problem(target: Path | str) -> Problem:
    (found,) = read(str(target), ModelSettings(), guess)
    assert isinstance(found, Problem), found
    return found


# one model


def test_a_file_is_a_model_called_after_it(tmp_path: Path) -> None:
    make(tmp_path, "iris.v2.onnx")
    source = only(tmp_path / "iris.v2.onnx")
    assert (source.name, source.version, source.entry) == ("iris.v2", "1", "")
    assert source.path == tmp_path / "iris.v2.onnx"
    assert source.settings == ModelSettings(runtime="onnx")


def test_a_file_without_a_runtime_is_a_problem_unless_one_is_named(tmp_path: Path) -> None:
    make(tmp_path, "iris.bin")
    assert told(tmp_path / "iris.bin") == [("iris", "", "!no runtime is known for the file 'iris.bin'")]
    assert told(tmp_path / "iris.bin", ModelSettings(runtime="onnx")) == [("iris", "1", "iris.bin")]


@pytest.mark.parametrize(
    "files",
    [["iris/model.onnx"], ["iris/1/model.onnx"], ["iris/1/any.onnx"], ["iris/model.toml", "iris/any.onnx"]],
)
def test_a_folder_with_a_model_in_it_is_a_model_called_after_the_folder(
    tmp_path: Path, files: list[str]
) -> None:
    make(tmp_path, *files, "iris/README.md", "iris/.hidden.onnx", "iris/labels.txt", "iris/train.py")
    assert only(tmp_path / "iris").name == "iris"
    assert only(f"{tmp_path}/iris/").name == "iris"
    assert only(tmp_path).name == "iris"


def test_the_highest_version_is_loaded_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    make(
        tmp_path, *(f"iris/{version}/model.onnx" for version in (1, 2, 10)), "iris/old/model.onnx", "iris/0/x"
    )
    assert told(tmp_path / "iris") == [("iris", "10", "model.onnx")]
    assert [row[1] for row in told(tmp_path / "iris", ModelSettings(versions="all"))] == ["1", "2", "10"]
    make(tmp_path, "iris/model.toml=versions = 'specific:2,7'")
    assert told(tmp_path / "iris") == [
        ("iris", "7", "!version 7 is wanted and not there; there is 1, 2, 10"),
        ("iris", "2", "model.onnx"),
    ]
    make(tmp_path, "iris/model.toml=versions = 'newest'")
    assert told(tmp_path / "iris") == [("iris", "", "!'newest' is no version policy")]


def test_several_possible_files_are_a_problem_until_one_is_named(tmp_path: Path) -> None:
    make(tmp_path, "iris/1/a.onnx", "iris/1/b.joblib", "iris/2/c.onnx")
    make(tmp_path, "iris/model.toml=versions = 'all'")
    assert told(tmp_path / "iris") == [
        ("iris", "1", "!several files could be the model: a.onnx, b.joblib"),
        ("iris", "2", "c.onnx"),
    ]
    make(tmp_path, "iris/model.toml=versions = 'all'\nruntime = 'sklearn'")
    assert told(tmp_path / "iris")[0] == ("iris", "1", "b.joblib")
    make(tmp_path, "iris/model.toml=versions = 'all'\nfile = 'a.onnx'")
    assert told(tmp_path / "iris") == [
        ("iris", "1", "a.onnx"),
        ("iris", "2", "!model.toml names the file 'a.onnx', which is not there"),
    ]


def test_python_files_are_models_only_when_called_so_or_named(tmp_path: Path) -> None:
    make(tmp_path, "a/iris.joblib", "a/train.py", "b/1/model.py", "b/1/helper.py", "c/1/app.py", "loose.py")
    assert told(tmp_path) == [
        ("a", "1", "iris.joblib"),
        ("b", "1", "model.py"),
        ("c", "1", "!there is no model file in the folder"),
    ]
    make(tmp_path, "c/model.toml=file = 'app.py'")
    assert told(tmp_path / "c") == [("c", "1", "app.py")]
    assert only(tmp_path / "loose.py").settings.runtime == "python"


# classes


def test_a_class_is_a_model_called_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path, "src/app.py"))
    source = only("shop.models:Iris")
    assert (source.name, source.version, source.path, source.entry) == ("Iris", "1", None, "shop.models:Iris")
    source = only("src/app.py:Iris")
    assert (source.name, source.path, source.entry) == ("Iris", tmp_path / "src/app.py", "app:Iris")
    assert source.settings.runtime == "python"


def test_an_entry_in_model_toml_names_the_class(tmp_path: Path) -> None:
    make(tmp_path, "iris/model.toml=entry = 'code:Iris'", "iris/code.py", "iris/weights.onnx")
    source = only(tmp_path / "iris")
    assert (source.entry, source.path, source.settings.runtime) == ("code:Iris", tmp_path / "iris", "")
    make(tmp_path, "iris/model.toml=entry = 'code.py:Iris'")
    source = only(tmp_path / "iris")
    assert (source.entry, source.path, source.settings.runtime) == (
        "code:Iris",
        tmp_path / "iris/code.py",
        "python",
    )
    make(tmp_path, "iris/model.toml=entry = 'code Iris'")
    assert problem(tmp_path / "iris").reason == "'code Iris' is no entry"


# repositories


def test_every_folder_and_model_file_of_a_repository_is_a_model(tmp_path: Path) -> None:
    make(tmp_path, "b/1/model.onnx", "a.onnx", "c/model.joblib", "README.md", "train.py", "notes.txt")
    make(tmp_path, "__pycache__/x.onnx", ".git/x.onnx", "lost+found/", "_old/model.onnx", "d/")
    assert told(tmp_path) == [
        ("a", "1", "a.onnx"),
        ("b", "1", "model.onnx"),
        ("c", "1", "model.joblib"),
        ("d", "1", "!there is no model file in the folder"),
    ]


def test_a_problem_does_not_keep_the_others_away(tmp_path: Path) -> None:
    make(tmp_path, "bad/model.toml=x x", "bad/model.onnx", "no good.onnx", "ok.onnx", "-x/model.onnx")
    make(tmp_path, "trit/config.pbtxt=max_batch_size: x", "trit/1/model.onnx")
    reasons = {name: what for name, _, what in told(tmp_path)}
    assert reasons.pop("bad").startswith("!model.toml is not TOML: ")
    assert reasons == {
        "-x": "!'-x' can't be a model's name",
        "no good": "!'no good' can't be a model's name",
        "ok": "ok.onnx",
        "trit": "!expected a number, got 'x' (config.pbtxt, line 1)",
    }


def test_two_models_of_one_name_are_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "iris/model.onnx", "iris.joblib", "other.onnx")
    assert told(tmp_path) == [
        ("iris", "", "!several models are called 'iris': iris, iris.joblib"),
        ("other", "1", "other.onnx"),
    ]


def test_tritons_configuration_gives_way_to_model_toml(tmp_path: Path) -> None:
    make(tmp_path, "iris/config.pbtxt", "iris/1/model.onnx", "iris/model.toml")
    assert only(tmp_path / "iris").settings.runtime == "onnx"


def test_tritons_configuration_says_what_a_model_is(tmp_path: Path) -> None:
    text = 'backend: "onnxruntime" max_batch_size: 8 instance_group { count: 2 }'
    make(tmp_path, f"iris/config.pbtxt={text}", "iris/1/model.onnx", "iris/2/model.onnx")
    found = only(tmp_path / "iris")
    assert (found.version, found.settings.runtime) == ("2", "onnx")
    assert (found.settings.max_batch, found.settings.instances) == (8, 2)


def test_a_model_for_tritons_python_backend_is_known_by_its_class(tmp_path: Path) -> None:
    code = "class TritonPythonModel:\n    pass\n"
    make(tmp_path, f"a/1/model.py={code}", "b/config.pbtxt=backend: 'python'", f"b/1/model.py={code}")
    make(tmp_path, "b/1/weights.onnx", "c/config.pbtxt=backend: 'python'", "c/1/model.py=class Model: ...")
    found = read(str(tmp_path), ModelSettings(), table.guess)
    assert [each.settings.runtime for each in found if isinstance(each, ModelSource)] == [
        "triton_python",
        "triton_python",
        "python",
    ]


def test_links_are_followed_and_name_the_model(tmp_path: Path) -> None:
    make(tmp_path, "store/v7/model.onnx", "repository/other.onnx")
    (tmp_path / "repository/iris").symlink_to(tmp_path / "store/v7")
    (tmp_path / "repository/linked.onnx").symlink_to(tmp_path / "store/v7/model.onnx")
    (tmp_path / "repository/broken.onnx").symlink_to(tmp_path / "nowhere")
    assert [row[0] for row in told(tmp_path / "repository")] == ["iris", "linked", "other"]


def test_the_working_directory_may_be_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path / "iris", "model.onnx"))
    assert only(".").name == "iris"


@pytest.mark.parametrize("files", [[], ["src/lib/x.txt", "docs/"], ["notes.txt", "train.py"]])
def test_a_folder_without_a_model_shows_what_is_expected(tmp_path: Path, files: list[str]) -> None:
    make(tmp_path / "empty", ".keep", *files)
    found = problem(tmp_path / "empty")
    assert (found.name, found.reason) == ("empty", "there is no model in the folder")
    assert "models/" in found.hint


# targets that are none


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("s3://bucket/iris", "only local paths can be served, got 's3://bucket/iris'", "download"),
        ("iris.onx", "there is no file or folder 'iris.onx'", "did you mean 'iris.onnx'?"),
        ("", "there is no file or folder ''", ""),
        ("app.py:Iris", "there is no file 'app.py'", ""),
        ("a b:c", "'a b:c' is no entry", "write module:Class"),
        ("x\0y", "there is no file or folder", ""),
        ("x" * 300, "can't read '", ""),
    ],
)
def test_a_target_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str, hint: str
) -> None:
    monkeypatch.chdir(make(tmp_path, "iris.onnx"))
    with pytest.raises(ConfigError) as caught:
        read(target, ModelSettings(), guess)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_reasons_and_hints_name_no_path_of_this_machine(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a/",
        "b/model.toml=[[",
        "c/model.toml=file = 'x'",
        "d/1/",
        "e/config.pbtxt=[",
        "f.onnx",
        "g/model.toml/",
    )
    make(tmp_path, "h/model.toml=[[outputs]]\nname = 'y'\nlabels_file = 'none.txt'")
    problems = [found for found in read(str(tmp_path), ModelSettings(), guess) if isinstance(found, Problem)]
    assert [found.name for found in problems] == list("abcdegh")
    assert all(str(tmp_path) not in found.reason + found.hint and found.path for found in problems)


def test_a_model_may_be_given_another_name(tmp_path):
    file = tmp_path / "iris.onnx"
    file.write_bytes(b"")
    (found,) = read(f"flowers={file}", ModelSettings(), guess)
    assert (found.name, found.path) == ("flowers", file)
    (found,) = read("flowers=app:Iris", ModelSettings(), guess)
    assert (found.name, found.entry) == ("flowers", "app:Iris")


def test_a_file_whose_name_looks_like_that_is_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.onnx").write_bytes(b"")
    (found,) = read("a=b.onnx", ModelSettings(), guess)
    assert found.reason.startswith("'a=b' can't be a model's name")


def test_several_models_can_t_have_one_name(tmp_path):
    for name in ("one.onnx", "two.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match="several models: one, two"):
        read(f"all={tmp_path}", ModelSettings(), guess)
