from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_digits

from dragoman.errors import ConfigError
from dragoman.runtimes.lightgbm import LightGBMRuntime
from dragoman.runtimes.table import guess
from dragoman.runtimes.xgboost import XGBoostRuntime

from .conftest import artifact, ask, shapes


@pytest.fixture(scope="module")
def cancer_rows() -> Any:
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def digit_rows() -> Any:
    return load_digits(return_X_y=True)


@pytest.mark.parametrize("suffix", [".json", ".ubj", ".bst", ".xgb"])
@pytest.mark.filterwarnings("ignore:.*Saving model in the UBJSON format:UserWarning")
def test_xgboost_answers_as_its_booster_does(cancer_rows: Any, tmp_path: Path, suffix: str) -> None:
    rows, classes = cancer_rows
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(rows, classes)
    path = tmp_path / f"model{suffix}"
    model.save_model(path)
    assert guess(path) == "xgboost"
    runtime = XGBoostRuntime.load(artifact(path, trusted=False, threads=1))
    assert shapes(runtime.signature) == {"input": ("FP32", [-1, 30]), "predict": ("FP32", [-1])}
    assert runtime.signature.batched
    answer = runtime.execute(ask(input=rows.astype(np.float32))).output("predict").data
    np.testing.assert_allclose(answer, model.predict_proba(rows)[:, 1], atol=1e-6)


def test_xgboost_gives_a_probability_for_each_class(digit_rows: Any, tmp_path: Path) -> None:
    rows, classes = digit_rows
    model = xgboost.XGBClassifier(n_estimators=2, max_depth=2).fit(rows, classes)
    model.save_model(tmp_path / "m.ubj")
    labels = {"name": "digits", "labels": list("0123456789")}
    runtime = XGBoostRuntime.load(artifact(tmp_path, outputs=[labels], inputs=[{"name": "pixels"}]))
    assert shapes(runtime.signature) == {"pixels": ("FP32", [-1, 64]), "digits": ("FP32", [-1, 10])}
    assert runtime.signature.outputs[0].labels == tuple("0123456789")
    answer = runtime.execute(ask(pixels=rows.astype(np.float32))).output("digits").data
    np.testing.assert_allclose(answer, model.predict_proba(rows), atol=1e-6)


def test_xgboost_skips_the_trees_after_the_best(cancer_rows: Any, tmp_path: Path) -> None:
    rows, classes = cancer_rows
    model = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=1.5)
    model.fit(rows[:300], classes[:300], eval_set=[(rows[300:], classes[300:])], verbose=False)
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    model.save_model(tmp_path / "m.json")
    answer = (
        XGBoostRuntime.load(artifact(tmp_path)).execute(ask(input=rows.astype(np.float32))).outputs[0].data
    )
    np.testing.assert_allclose(answer, model.predict_proba(rows)[:, 1], atol=1e-6)


def test_xgboosts_linear_booster_and_missing_values(cancer_rows: Any, tmp_path: Path) -> None:
    rows, classes = cancer_rows
    for settings in ({"booster": "gblinear"}, {"booster": "gbtree"}):
        model = xgboost.train(settings, xgboost.DMatrix(rows, classes), 3)
        model.save_model(tmp_path / "m.ubj")
        runtime = XGBoostRuntime.load(artifact(tmp_path))
        some = rows[:5].astype(np.float32)
        some[0, 0] = np.nan
        answer = runtime.execute(ask(input=some)).outputs[0].data
        np.testing.assert_allclose(answer, model.predict(xgboost.DMatrix(some)), atol=1e-6)


@pytest.mark.parametrize("suffix", [".txt", ".lgb", ".bst"])
def test_lightgbm_answers_as_its_booster_does(cancer_rows: Any, tmp_path: Path, suffix: str) -> None:
    rows, classes = cancer_rows
    model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(rows, classes), 5)
    path = tmp_path / f"model{suffix}"
    model.save_model(path)
    assert guess(path) == "lightgbm"
    runtime = LightGBMRuntime.load(artifact(path, trusted=False, threads=1))
    assert shapes(runtime.signature) == {"input": ("FP64", [-1, 30]), "predict": ("FP64", [-1])}
    assert runtime.signature.batched
    np.testing.assert_array_equal(
        runtime.execute(ask(input=rows)).output("predict").data, model.predict(rows)
    )


def test_lightgbm_gives_a_probability_for_each_class(digit_rows: Any, tmp_path: Path) -> None:
    rows, classes = digit_rows
    settings = {"objective": "multiclass", "num_class": 10, "verbose": -1, "num_leaves": 4}
    model = lightgbm.train(settings, lightgbm.Dataset(rows, classes), 2)
    model.save_model(tmp_path / "m.txt")
    runtime = LightGBMRuntime.load(artifact(tmp_path))
    assert shapes(runtime.signature)["predict"] == ("FP64", [-1, 10])
    np.testing.assert_array_equal(runtime.execute(ask(input=rows)).outputs[0].data, model.predict(rows))


def test_damaged_files_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.ubj").write_bytes(b"junk")
    (tmp_path / "m.txt").write_bytes(b"tree\njunk")
    (tmp_path / "m.lgb").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"xgboost can't load m\.ubj") as caught:
        XGBoostRuntime.load(artifact(tmp_path / "m.ubj"))
    assert "Stack trace" not in str(caught.value)
    for name in ("m.txt", "m.lgb"):
        with pytest.raises(ConfigError, match=f"lightgbm can't load {name}"):
            LightGBMRuntime.load(artifact(tmp_path / name))
    with pytest.raises(ConfigError, match="unknown option 'nthread'"):
        XGBoostRuntime.load(artifact(tmp_path / "m.ubj", nthread=1))
