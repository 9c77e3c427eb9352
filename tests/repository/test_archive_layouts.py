"""Archives as they are found by ``serve``: alone, unpacked, and in a model store."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.layouts import read
from dragoman.repository.model_archive import name_of, open_model_archive, requirements_of, source_of
from dragoman.repository.model_yaml import TorchServeSettings
from dragoman.repository.paths import InvalidArchive
from dragoman.repository.spec import ModelSource, Problem
from tests.repository.archives import manifest, tarred, zipped

HANDLER = {"handler.py": b""}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dragoman" / "models"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def guess(path: Path) -> str | None:
    return "onnx" if path.suffix == ".onnx" else None


def mar(name: str = "echo", version: str = "1.0", **model: Any) -> bytes:
    return zipped({**HANDLER, "MAR-INF/MANIFEST.json": manifest(name, version, **model)})


def told(target: Path) -> list[tuple[str, str, str]]:
    return [
        (found.name, found.version, found.reason if isinstance(found, Problem) else found.settings.runtime)
        for found in read(str(target), ModelSettings(), guess)
    ]


def only(target: Path, defaults: ModelSettings | None = None) -> ModelSource:
    (found,) = read(str(target), defaults or ModelSettings(), guess)
    assert isinstance(found, ModelSource), found
    return found


def unpacked(directory: Path, **model: str) -> Path:
    (directory / "MAR-INF").mkdir(parents=True)
    (directory / "MAR-INF" / "MANIFEST.json").write_bytes(manifest(**model))
    (directory / "handler.py").write_bytes(b"")
    return directory


def test_an_archive_is_the_model_that_its_manifest_says(store: Path, cache: Path) -> None:
    content = {
        **HANDLER,
        "MAR-INF/MANIFEST.json": manifest("Echo.2", "1.0-rc", configFile="c.yaml"),
        "c.yaml": b"batchSize: 4\nmaxBatchDelay: 100\nminWorkers: 2\nhandler: {a: 1}\n",
    }
    (store / "file.mar").write_bytes(zipped(content))
    source = only(store / "file.mar", ModelSettings(runtime="onnx", queue_size=7))
    assert (source.name, source.version, source.entry, source.trusted) == ("Echo.2", "1.0-rc", "", True)
    assert source.path is not None
    assert source.path.is_relative_to(cache)
    assert (source.path / "handler.py").is_file()
    assert source.settings == ModelSettings(
        runtime="torchserve", max_batch=4, max_delay=0.1, instances=2, queue_size=7
    )
    assert source.options["handler"] == "handler.py"
    assert source.options["manifest"]["model"]["modelVersion"] == "1.0-rc"
    assert source.options["model_yaml_config"]["handler"] == {"a": 1}
    assert source.options["torchserve"] == TorchServeSettings(
        batch_size=4, max_batch_delay_ms=100, min_workers=2
    )


def test_an_unpacked_archive_is_served_where_it_lies(store: Path, cache: Path) -> None:
    source = only(unpacked(store / "any", name="echo", version="3"))
    assert (source.name, source.version, source.path) == ("echo", "3", store / "any")
    assert not cache.exists()


def test_a_model_store_may_hold_every_format_and_other_models(store: Path) -> None:
    (store / "echo.mar").write_bytes(mar())
    (store / "echo_v2.mar").write_bytes(mar(version="2.0"))
    (store / "packed.tar.gz").write_bytes(
        tarred({"packed/handler.py": b"", "packed/MAR-INF/MANIFEST.json": manifest("packed")})
    )
    (store / "sage.model").write_bytes(tarred({**HANDLER, "MAR-INF/MANIFEST.json": manifest("sage")}))
    unpacked(store / "folder", name="unpacked")
    (store / "iris.onnx").write_bytes(b"")
    (store / "digits").mkdir()
    (store / "digits" / "model.onnx").write_bytes(b"")
    (store / "README.md").write_bytes(b"")
    (store / ".hidden.mar").write_bytes(b"")
    assert told(store) == [
        ("digits", "1", "onnx"),
        ("echo", "1.0", "torchserve"),
        ("echo", "2.0", "torchserve"),
        ("iris", "1", "onnx"),
        ("packed", "1.0", "torchserve"),
        ("sage", "1.0", "torchserve"),
        ("unpacked", "1.0", "torchserve"),
    ]


def test_two_archives_of_one_version_are_a_problem(store: Path) -> None:
    (store / "a.mar").write_bytes(mar())
    (store / "b.mar").write_bytes(mar())
    (store / "c.mar").write_bytes(mar(version="2.0"))
    (store / "d").mkdir()
    (store / "d" / "model.onnx").write_bytes(b"")
    (store / "e.mar").write_bytes(mar("d", "1"))
    assert told(store) == [
        ("d", "1", "several models are called 'd' and have the version 1: d, e.mar"),
        ("echo", "1.0", "several models are called 'echo' and have the version 1.0: a.mar, b.mar"),
        ("echo", "2.0", "torchserve"),
    ]


def test_what_is_found_can_be_sent_to_a_worker(store: Path) -> None:
    (store / "a.mar").write_bytes(
        zipped({"MAR-INF/MANIFEST.json": manifest(configFile="c"), "c": b"batchSize: 2\nday: 2024-01-01"})
    )
    source = only(store / "a.mar")
    assert pickle.loads(pickle.dumps(source)) == source


def test_other_files_of_such_names_are_nobodys(store: Path) -> None:
    (store / "iris.onnx").write_bytes(b"")
    (store / "tokenizer.model").write_bytes(b"sentences")
    (store / "empty.model").write_bytes(b"")
    (store / "data.tar.gz").write_bytes(tarred({"data/a.csv": b"1"}))
    assert told(store) == [("iris", "1", "onnx")]
    whole = tarred({"m/handler.py": bytes(5000), "m/MAR-INF/MANIFEST.json": manifest("m")})
    (store / "cut.tar.gz").write_bytes(whole[:-20])
    assert [(name, reason.partition(":")[0]) for name, _, reason in told(store)] == [
        ("cut", "the archive is damaged"),
        ("iris", "onnx"),
    ]
    assert told(store / "data.tar.gz") == [("data", "1.0", "torchserve")]  # named, it is meant


def test_long_names_are_not_told_at_length(store: Path) -> None:
    (store / "a.mar").write_bytes(mar("x" * 10_000))
    (store / "b.mar").write_bytes(mar("b", "x" * 10_000))
    (store / "c.mar").write_bytes(zipped({"../" + "x" * 10_000: b""}))
    (store / "d.mar").write_bytes(mar("d", handler=["x" * 10_000]))
    reasons = [reason for _, _, reason in told(store)]
    assert len(reasons) == 4
    assert all(len(reason) < 200 for reason in reasons)


def test_the_packages_it_asks_for_are_a_file_of_the_archive(store: Path) -> None:
    asks = {"MAR-INF/MANIFEST.json": manifest(requirementsFile="requirements.txt")}
    (store / "a.mar").write_bytes(zipped({**HANDLER, **asks, "requirements.txt": b"six"}))
    source = only(store / "a.mar")
    file = requirements_of(source)
    assert file is not None
    assert file.read_bytes() == b"six"
    (store / "b.mar").write_bytes(zipped({**HANDLER, **asks}))
    assert requirements_of(only(store / "b.mar")) is None
    (store / "c.mar").write_bytes(zipped(HANDLER))
    assert requirements_of(only(store / "c.mar")) is None


def test_a_store_of_one_archive_is_a_store(store: Path) -> None:
    (store / "model.mar").write_bytes(mar())
    assert told(store) == [("echo", "1.0", "torchserve")]


def test_a_folder_of_folders_of_archives_content_is_a_store(store: Path) -> None:
    unpacked(store / "a", name="a")
    unpacked(store / "b", name="b")
    assert [name for name, _, _ in told(store)] == ["a", "b"]


def test_a_broken_archive_is_a_problem_among_the_others(store: Path) -> None:
    (store / "broken.mar").write_bytes(mar()[:-30])
    (store / "corrupt.mar").write_bytes(b"not a zip")
    (store / "evil.mar").write_bytes(zipped({"../x": b""}))
    (store / "fine.mar").write_bytes(mar("fine"))
    (store / "odd-name.mar").write_bytes(mar("a/b"))
    (store / "odd_version.mar").write_bytes(mar("v", "1/0"))
    (store / "yaml.mar").write_bytes(
        zipped({"MAR-INF/MANIFEST.json": manifest("y", configFile="c.yaml"), "c.yaml": b"a: !!python/none"})
    )
    assert told(store) == [
        ("broken", "", "the archive is damaged: File is not a zip file"),
        ("corrupt", "", "Model name is not defined."),
        ("evil", "", "the archive holds a name outside its own folder: '../x'"),
        ("fine", "1.0", "torchserve"),
        ("odd_name", "", "'a/b' can't be a model's name"),
        ("odd_version", "", "'1/0' can't be a model's version"),
        ("yaml", "", "c.yaml is not plain YAML: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/none' (line 1)"),
    ]  # fmt: skip


def test_an_archive_without_a_manifest_is_called_after_its_file(store: Path) -> None:
    (store / "my-model.v2.mar").write_bytes(zipped(HANDLER))
    source = only(store / "my-model.v2.mar")
    assert (source.name, source.version) == ("my_model_v2", "1.0")
    assert source.options["manifest"] == {
        "runtime": "python",
        "model": {"modelName": "my_model_v2", "handler": "", "modelVersion": "1.0"},
    }
    archive = open_model_archive(store / "my-model.v2.mar")
    with pytest.raises(InvalidArchive, match=r"^Model name is not defined\.$"):
        source_of(archive, ModelSettings())


def test_a_name_and_a_handler_given_at_registration_win(store: Path) -> None:
    (store / "echo.mar").write_bytes(mar())
    archive = open_model_archive(store / "echo.mar")
    source = source_of(archive, ModelSettings(), name="other", handler="image_classifier")
    assert (source.name, source.options["handler"]) == ("other", "image_classifier")
    assert source.options["manifest"]["model"]["modelName"] == "echo"  # the handler reads the file as it is
    with pytest.raises(ConfigError):
        source_of(archive, ModelSettings(), name="../x")


@pytest.mark.parametrize("version", ["", " ", "1 0", "1/0", "..", ".", "1%2f", "1\n", "x" * 256, "a?b"])
def test_a_version_must_fit_into_a_path(store: Path, version: str) -> None:
    (store / "a.mar").write_bytes(mar(version=version))
    (found,) = read(str(store / "a.mar"), ModelSettings(), guess)
    assert isinstance(found, Problem) is (version != "")  # an empty one is none: 1.0


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("echo.mar", "echo"),
        ("a/b.c-d.tar.gz", "b_c_d"),
        ("x.TGZ", "x"),
        ("_x.model", "_x"),
        ("folder", "folder"),
        ("é.mar", "_"),
    ],
)
def test_a_files_name_is_tamed_as_torchserve_does(file: str, name: str) -> None:
    assert name_of(Path(file)) == name


def test_model_toml_beside_a_manifest_wins(store: Path) -> None:
    unpacked(store / "iris")
    (store / "iris" / "model.onnx").write_bytes(b"")
    (store / "iris" / "model.toml").write_text("")
    assert told(store / "iris") == [("iris", "1", "onnx")]
