"""Repositories on disk that are looked at again."""

import shutil
from pathlib import Path

import pytest

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository import offers as module
from dragoman.repository.offers import Offers, Repository, offers
from dragoman.repository.spec import ModelSource

from .archives import FILES, manifest, zipped
from .test_layouts import guess, make


def look_at(*targets: Path | str) -> Repository:
    return Repository([str(target) for target in targets], ModelSettings(), guess)


def told(there: Offers) -> dict[str, list[str]]:
    """The versions of each model; "!" marks what is in the way of one."""
    return {
        name: [*offer.versions, *(f"!{problem.version}" for problem in offer.problems)]
        for name, offer in there.items()
    }


def test_models_versions_and_what_is_in_their_way(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a/1/model.onnx",
        "a/2/model.onnx",
        "b.onnx",
        "c/model.toml=runtime = 3",
        "d/1/x",
        "d/2/model.onnx",
    )
    make(tmp_path, "d/model.toml=versions = 'all'")
    assert told(look_at(tmp_path).look()) == {"a": ["2"], "b": ["1"], "c": ["!"], "d": ["2", "!1"]}


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "one/a.onnx", "two/b/1/model.onnx")
    reads: list[str] = []
    original = module.read

    def counting(target, *arguments):
        reads.append(Path(target).name)
        return original(target, *arguments)

    monkeypatch.setattr(module, "read", counting)
    repository = look_at(tmp_path / "one", tmp_path / "two")
    assert len(repository.read()) == 2
    first = repository.look()
    assert repository.look() is first
    make(tmp_path, "two/b/1/model.onnx=changed")
    second = repository.look()
    assert reads == ["one", "two", "two"]
    assert second["a"] == first["a"]
    assert second["b"] != first["b"]
    assert second["b"].versions["1"].source == first["b"].versions["1"].source


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("m/2/model.onnx", {"2"}),
        ("m/2/weights.data", {"2"}),
        ("m/1/model.onnx", {"1"}),
        ("m/notes.txt", set()),
        ("m/model.toml=versions = 'all'\nmax_batch = 3", {"1", "2"}),
        ("m/model.toml=versions = 'all'  # of them", set()),
        ("other.onnx", set()),
    ],
)
def test_a_version_changes_with_its_own_files_and_the_models_description(
    tmp_path: Path, file: str, changed: set[str]
) -> None:
    make(tmp_path, "m/1/model.onnx", "m/2/model.onnx", "m/model.toml=versions = 'all'")
    repository = look_at(tmp_path)
    before = repository.look()["m"].versions
    make(tmp_path, file if "=" in file else f"{file}=new")
    after = repository.look()["m"].versions
    assert {name for name in after if after[name] != before[name]} == changed


def test_a_model_without_versions_changes_with_its_folder_and_one_in_a_file_with_the_file(
    tmp_path: Path,
) -> None:
    make(tmp_path, "m/model.onnx", "f.onnx")
    repository = look_at(tmp_path)
    before = repository.look()
    make(tmp_path, "m/weights.data=new")
    assert repository.look()["m"] != before["m"]
    assert repository.look()["f"] == before["f"]
    make(tmp_path, "f.onnx=new")
    assert repository.look()["f"] != before["f"]


def test_an_archive_is_unpacked_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = tmp_path / "store"
    store.mkdir()
    reads: list[str] = []
    original = module.read_archive

    def counting(path, defaults):
        reads.append(path.name)
        return original(path, defaults)

    monkeypatch.setattr(module, "read_archive", counting)
    for name in ("a", "b"):
        (store / f"{name}.mar").write_bytes(zipped({"MAR-INF/MANIFEST.json": manifest(name), **FILES}))
    repository = look_at(store)
    before = repository.look()
    (store / "b.mar").write_bytes(zipped({"MAR-INF/MANIFEST.json": manifest("b", "2.0"), **FILES}))
    after = repository.look()
    assert reads == ["a.mar", "b.mar", "b.mar"]
    assert after["a"] == before["a"]
    assert [*after["b"].versions] == ["2.0"]
    shutil.rmtree(tmp_path / "cache")  # somebody has tidied up
    make(store, "c.onnx")
    repository.look()
    assert reads[3:] == ["a.mar", "b.mar"]
    assert after["a"].versions["1.0"].source.path.is_dir()


def test_a_damaged_archive_is_still_the_model_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = tmp_path / "store/v1-final.mar"
    archive.parent.mkdir()
    whole = zipped({"MAR-INF/MANIFEST.json": manifest("echo"), **FILES})
    archive.write_bytes(whole[:-9])
    repository = look_at(tmp_path / "store")
    assert told(repository.look()) == {"v1_final": ["!"]}
    archive.write_bytes(whole)
    assert told(repository.look()) == {"echo": ["1.0"]}
    archive.write_bytes(whole[:-9])
    assert told(repository.look()) == {"echo": ["!"]}


def test_a_target_that_can_not_be_read_any_more_holds_what_it_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "volume/a.onnx")
    repository = look_at(tmp_path / "volume")
    before = repository.look()
    (tmp_path / "volume").rename(tmp_path / "unmounted")
    assert repository.look() == before
    assert repository.look() == before
    assert [record.message for record in caplog.records] == [
        "models can't be read any more, what is loaded of them stays"
    ]
    (tmp_path / "unmounted").rename(tmp_path / "volume")
    make(tmp_path, "volume/b.onnx")
    assert told(repository.look()) == {"a": ["1"], "b": ["1"]}


def test_a_folder_without_models_is_a_place_for_models_to_come(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    repository = look_at(tmp_path / "models")
    assert repository.look() == {}
    make(tmp_path, "models/a/1/model.onnx")
    assert told(repository.look()) == {"a": ["1"]}
    shutil.rmtree(tmp_path / "models/a")
    assert repository.look() == {}


def test_two_of_one_version_are_refused_at_first_and_one_of_them_later(tmp_path: Path) -> None:
    make(tmp_path, "one/m/1/model.onnx", "two/m/2/model.onnx")
    repository = look_at(tmp_path / "one", tmp_path / "two")
    assert told(repository.look()) == {"m": ["1", "2"]}
    (tmp_path / "two/m/2").rename(tmp_path / "two/m/1")
    there = repository.look()
    assert told(there) == {"m": ["1", "!1"]}
    assert there["m"].versions["1"].source.path == tmp_path / "one/m/1/model.onnx"
    with pytest.raises(ConfigError, match="model 'm' version 1 is there twice"):
        look_at(tmp_path / "one", tmp_path / "two").read()


def test_a_target_that_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file or folder"):
        look_at(tmp_path / "nowhere").read()


def test_a_class_of_a_module_is_always_the_same() -> None:
    repository = look_at("app:Iris")
    assert repository.look() is repository.look()
    assert told(repository.look()) == {"Iris": ["1"]}


# another configuration


def with_versions(policy: str):
    def configure(said, folder):
        from dataclasses import replace

        return replace(said, settings=replace(said.settings, versions=policy, max_batch=7))

    return configure


def test_a_folder_is_read_anew_with_the_last_word_on_its_description(tmp_path: Path) -> None:
    make(tmp_path, "m/1/model.onnx", "m/2/model.onnx", "m/model.toml=queue_size = 5")
    repository = look_at(tmp_path)
    offer = repository.configured("m", with_versions("all"))
    assert [*offer.versions] == ["1", "2"]
    settings = offer.versions["2"].source.settings
    assert (settings.max_batch, settings.queue_size) == (7, 5)
    assert told(repository.look()) == {"m": ["2"]}
    assert repository.configured("nope", with_versions("all")) is None


def test_so_is_what_lies_in_a_file(tmp_path: Path) -> None:
    make(tmp_path, "m.onnx")
    repository = look_at(tmp_path)
    offer = repository.configured("m", with_versions("latest"))
    assert offer.versions["1"].source.settings.max_batch == 7
    assert (
        repository.configured("m", with_versions("specific:3")).problems[0].reason
        == "version 1 is not wanted"
    )


def test_a_configuration_that_can_not_be_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "m/1/model.onnx", "n.onnx")

    def refuse(said, folder):
        raise ConfigError("no", hint="really")

    for name in ("m", "n"):
        (problem,) = look_at(tmp_path).configured(name, refuse).problems
        assert (problem.reason, problem.hint, problem.version) == ("no", "really", "")


def test_what_was_found_once_needs_no_fingerprints() -> None:
    source = ModelSource("m", "1", None, "app:M", ModelSettings())
    assert offers([source])["m"].versions["1"].fingerprint == ""
