import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from dragoman.errors import ConfigError, InvalidInput
from dragoman.runtimes.sklearn import SklearnRuntime

from .conftest import arrays, artifact, ask, shapes, text


def load(model: Any, tmp_path: Path, **options: Any) -> SklearnRuntime:
    joblib.dump(model, tmp_path / "model.joblib")
    return SklearnRuntime.load(artifact(tmp_path / "model.joblib", **options))


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".pickle", ".skops"])
def test_a_classifier_gives_classes_and_probabilities(digits: Any, tmp_path: Path, suffix: str) -> None:
    model, rows = digits
    path = tmp_path / f"model{suffix}"
    if suffix == ".skops":
        skops.io.dump(model, path)
    elif suffix == ".joblib":
        joblib.dump(model, path)
    else:
        path.write_bytes(pickle.dumps(model))
    runtime = SklearnRuntime.load(artifact(tmp_path))
    assert shapes(runtime.signature) == {
        "input": ("FP64", [-1, 64]),
        "predict": ("INT64", [-1]),
        "predict_proba": ("FP64", [-1, 10]),
    }
    assert runtime.signature.batched
    assert runtime.signature.outputs[1].labels == tuple("0123456789")
    answer = arrays(runtime.execute(ask(input=rows)))
    np.testing.assert_array_equal(answer["predict"], model.predict(rows))
    np.testing.assert_array_equal(answer["predict_proba"], model.predict_proba(rows))


def test_text_classes_are_bytes_and_labels(cancer: Any, tmp_path: Path) -> None:
    model, rows = cancer
    runtime = load(model, tmp_path)
    assert shapes(runtime.signature)["predict"] == ("BYTES", [-1])
    assert runtime.signature.outputs[1].labels == ("benign", "malignant")
    answer = runtime.execute(ask(("predict",), input=rows[:9])).output("predict").data
    assert [each.decode() for each in answer] == model.predict(rows[:9]).tolist()


def test_only_the_wanted_methods_are_called(digits: Any, tmp_path: Path) -> None:
    model, rows = digits
    runtime = load(model, tmp_path)
    runtime._methods["predict"] = pytest.fail
    assert list(arrays(runtime.execute(ask(("predict_proba",), input=rows)))) == ["predict_proba"]


def test_the_operator_chooses_datatype_method_and_name(digits: Any, tmp_path: Path) -> None:
    model, rows = digits
    runtime = load(
        model,
        tmp_path,
        datatype="FP32",
        method="predict_log_proba",
        inputs=[{"name": "pixels"}],
        outputs=[{"name": "logs"}],
    )
    assert shapes(runtime.signature) == {"pixels": ("FP32", [-1, 64]), "logs": ("FP64", [-1, 10])}
    logs = runtime.execute(ask(pixels=rows.astype(np.float32))).output("logs").data
    np.testing.assert_allclose(np.exp(logs), model.predict_proba(rows), atol=1e-5)


def test_a_model_of_text_takes_bytes(tmp_path: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model.fit(["a good day", "so good", "a bad day", "too bad"], ["+", "+", "-", "-"])
    runtime = load(model, tmp_path)
    assert shapes(runtime.signature) == {
        "input": ("BYTES", [-1]),
        "predict": ("BYTES", [-1]),
        "predict_proba": ("FP64", [-1, 2]),
    }
    answer = runtime.execute(ask(("predict",), input=text("good", "bad", "good café")))
    assert answer.outputs[0].data.tolist() == [b"+", b"-", b"+"]
    with pytest.raises(InvalidInput, match="UTF-8"):
        runtime.execute(ask(input=np.array([b"\xff"], object)))


def test_regression_with_several_targets(tmp_path: Path) -> None:
    rows = np.arange(12.0).reshape(6, 2)
    runtime = load(LinearRegression().fit(rows, rows), tmp_path)
    assert shapes(runtime.signature) == {"input": ("FP64", [-1, 2]), "predict": ("FP64", [-1, 2])}
    np.testing.assert_allclose(runtime.execute(ask(input=rows)).output("predict").data, rows, atol=1e-9)
    single = load(LinearRegression().fit(rows, rows[:, 0]), tmp_path, datatype="FP32")
    assert shapes(single.signature)["predict"] == ("FP64", [-1])
    assert single.execute(ask(input=rows.astype(np.float32))).outputs[0].datatype == "FP64"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (KMeans(2, n_init=1), {"predict": ("INT64", [-1])}),
        (GaussianMixture(2), {"predict": ("INT64", [-1]), "predict_proba": ("FP64", [-1, 2])}),
        (SVC(), {"predict": ("BOOL", [-1])}),
        (StandardScaler(), {"transform": ("FP64", [-1, 2])}),
        (OneHotEncoder(handle_unknown="ignore"), {"transform": ("FP64", [-1, 12])}),
    ],
)
def test_estimators_of_every_kind_show_what_they_offer(
    model: Any, expected: dict[str, Any], tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 2))
    runtime = load(model.fit(rows, rows[:, 0] > 0), tmp_path)
    assert shapes(runtime.signature) == {"input": ("FP64", [-1, 2]), **expected}
    assert [(t.name, t.datatype) for t in runtime.execute(ask(input=rows)).outputs] == [
        (name, datatype) for name, (datatype, _) in expected.items()
    ]


def test_several_targets_of_classes(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 2))
    model = RandomForestClassifier(3, random_state=0).fit(rows, (rows > 0).astype(int))
    runtime = load(model, tmp_path)
    assert shapes(runtime.signature) == {"input": ("FP64", [-1, 2]), "predict": ("INT64", [-1, 2])}
    np.testing.assert_array_equal(runtime.execute(ask(input=rows)).outputs[0].data, model.predict(rows))
    with pytest.raises(ConfigError, match="one array of probabilities for each output"):
        load(model, tmp_path, method="predict_proba")


def test_a_model_that_never_saw_a_zero_is_declared_from_what_it_knows(tmp_path: Path) -> None:
    rows = np.array([[1.0], [2.0], [1.0], [2.0]])
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, ["a", "b", "a", "b"])
    runtime = load(model, tmp_path)
    assert shapes(runtime.signature) == {
        "input": ("FP64", [-1, 1]),
        "predict": ("BYTES", [-1]),
        "predict_proba": ("FP64", [-1, 2]),
    }
    assert runtime.execute(ask(("predict",), input=rows)).outputs[0].data.tolist() == [b"a", b"b", b"a", b"b"]


def test_a_step_without_a_width_takes_any(tmp_path: Path) -> None:
    runtime = load(FunctionTransformer(np.abs), tmp_path, outputs=[{"name": "absolute", "shape": [-1]}])
    assert shapes(runtime.signature) == {"input": ("FP64", [-1, -1]), "absolute": ("FP64", [-1])}


def test_models_fitted_on_a_data_frame_do_not_complain_of_names(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2, 3, 4], "b": [4.0, 3, 2, 1]})
    model = make_pipeline(make_column_transformer((StandardScaler(), [0, 1])), LogisticRegression())
    runtime = load(model.fit(frame, [0, 0, 1, 1]), tmp_path)
    assert runtime.execute(ask(("predict",), input=frame.to_numpy())).outputs[0].data.tolist() == [0, 0, 1, 1]


class Trap:
    """An object whose unpickling creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".pickle"])
def test_a_pickle_from_an_untrusted_place_is_refused_before_it_runs(tmp_path: Path, suffix: str) -> None:
    path, marker = tmp_path / f"model{suffix}", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(ConfigError, match="is a pickle: loading it runs whatever code is in it") as caught:
        SklearnRuntime.load(artifact(path, trusted=False))
    assert not marker.exists()
    assert "skops" in caught.value.hint
    assert "ONNX" in caught.value.hint
    with pytest.raises(ConfigError, match="NoneType, which can't predict"):
        SklearnRuntime.load(artifact(path, trusted=True))
    assert marker.exists()  # the trap works: only the refusal kept it shut


def test_a_pickle_that_calls_itself_skops_is_not_unpickled(tmp_path: Path) -> None:
    path, marker = tmp_path / "model.skops", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(ConfigError, match=r"skops can't load model\.skops"):
        SklearnRuntime.load(artifact(path, trusted=False))
    assert not marker.exists()


def test_skops_loads_from_anywhere_but_only_known_types(digits: Any, tmp_path: Path) -> None:
    model, rows = digits
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    runtime = SklearnRuntime.load(artifact(path, trusted=False))
    np.testing.assert_array_equal(
        runtime.execute(ask(("predict",), input=rows)).outputs[0].data, model.predict(rows)
    )


def test_unknown_types_of_a_skops_file_are_listed_until_the_operator_trusts_them(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(FunctionTransformer(np.testing.assert_allclose), path)
    [unknown] = skops.io.get_untrusted_types(file=path)
    with pytest.raises(ConfigError, match=r"types that are not trusted: numpy.*assert_allclose") as caught:
        SklearnRuntime.load(artifact(path))
    assert "trusted_types" in caught.value.hint
    SklearnRuntime.load(artifact(path, trusted_types=[unknown], outputs=[{"name": "out", "shape": [-1]}]))
    with pytest.raises(ConfigError, match="trusted_types counts only for a local path"):
        SklearnRuntime.load(artifact(path, trusted=False, trusted_types=[unknown]))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"method": "predikt"}, "the model has no method 'predikt'"),
        ({"datatype": "BYTES"}, "option 'datatype' is 'BYTES'"),
        ({"trusted_type": ["os.system"]}, "unknown option 'trusted_type'"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_load(
    digits: Any, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(digits[0], tmp_path, **options)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"junk")
    with pytest.raises(ConfigError, match=r"joblib can't load model\.joblib"):
        SklearnRuntime.load(artifact(tmp_path))
