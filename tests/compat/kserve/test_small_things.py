"""What model files take from KServe beside models and types: repositories, errors, logging, utilities, names."""

import asyncio
import json
import logging
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import yaml

import dragoman
from dragoman import errors as kinds
from dragoman.compat import kserve
from dragoman.compat.kserve import errors
from dragoman.compat.kserve.logging import KSERVE_LOG_CONFIG, configure_logging, logger
from dragoman.compat.kserve.model import Model
from dragoman.compat.kserve.model_repository import MODEL_MOUNT_DIRS, ModelRepository
from dragoman.compat.kserve.protocol.infer_type import InferInput, InferRequest
from dragoman.compat.kserve.protocol.model_repository_extension import ModelRepositoryExtension
from dragoman.compat.kserve.utils import utils

SOURCE = str(Path(dragoman.__file__).parents[1])


class Ready(Model):
    async def healthy(self):
        return self.ready


class Folder(ModelRepository):
    """Loads what it is asked for, but for what is broken."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.asked = []

    def load_model(self, name):
        self.asked.append(name)

    async def load(self, name):
        if name == "broken":
            raise RuntimeError("cannot read it")
        model = Model(name)
        if name != "cold":
            model.load()
        self.update(model)


class TestModelRepository:
    def test_holds_models_by_name(self):
        models, model = ModelRepository(), Model("m")
        assert models.models_dir == MODEL_MOUNT_DIRS == "/mnt/models"
        models.update(model)
        models.update(model, "other")
        assert models.get_model("m") is models.get_model("other") is model
        assert models.get_model("none") is None
        assert set(models.get_models()) == {"m", "other"}

    def test_says_who_is_ready_in_the_old_dialect(self, old):
        models = ModelRepository()
        models.update(Model("m"))
        models.update_handle("handle", object())
        assert models.is_model_ready("m") is False
        assert models.is_model_ready("none") is False
        assert models.is_model_ready("handle") is True
        models.get_model("m").load()
        assert models.is_model_ready("m") is True

    def test_says_who_is_ready_in_the_new_dialect(self, new):
        models = ModelRepository()
        for model in (Model("m"), Ready("r")):
            model.load()
            models.update(model)
        models.update_handle("handle", object())

        async def ask():
            return [await models.is_model_ready(name) for name in ("m", "r", "none", "handle")]

        assert asyncio.run(ask()) == [True, True, False, True]

    def test_unloads_by_stopping(self):
        models, model = ModelRepository(), Model("m")
        model.load()
        model.engine = True
        models.update(model)
        models.update_handle("handle", SimpleNamespace())
        models.unload("m")
        models.unload("handle")
        assert model.ready is False
        assert models.get_models() == {}
        with pytest.raises(KeyError, match="model with name m does not exist"):
            models.unload("m")

    def test_loads_every_folder(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        (tmp_path / "file").write_text("")
        models = Folder()
        models.set_models_dir(str(tmp_path))
        models.load_models()
        assert models.asked == ["a", "b"]
        assert ModelRepository().load("m") is None

    @pytest.mark.usefixtures("new")
    def test_is_driven_by_its_extension(self):
        async def go():
            extension = ModelRepositoryExtension(Folder())
            await extension.load("m")
            with pytest.raises(errors.ModelNotReady, match="cannot read it"):
                await extension.load("broken")
            with pytest.raises(errors.ModelNotReady, match=r"^Model with name cold is not ready\.$"):
                await extension.load("cold")
            everything, ready = await extension.index(), await extension.index(filter_ready=True)
            await extension.unload("m")
            with pytest.raises(errors.ModelNotFound):
                await extension.unload("m")
            return everything, ready

        everything, ready = asyncio.run(go())
        assert ready == [{"name": "m", "state": "Ready", "reason": ""}]
        assert everything == [*ready, {"name": "cold", "state": "NotReady", "reason": ""}]


@pytest.mark.parametrize(
    ("error", "kind", "base", "message"),
    [
        (errors.InvalidInput("bad"), kinds.InvalidInput, ValueError, "bad"),
        (errors.InferenceError("bad", status="E1"), kinds.ModelFailed, RuntimeError, "[E1] bad"),
        (errors.ModelNotFound("m"), kinds.NotFound, Exception, "Model with name m does not exist."),
        (errors.ModelNotReady("m"), kinds.NotReady, RuntimeError, "Model with name m is not ready."),
        (errors.ServerNotReady(), kinds.NotReady, RuntimeError, "Server is not ready."),
        (errors.ServerNotLive("x"), kinds.NotReady, RuntimeError, "Server is not live. x"),
        (errors.UnsupportedProtocol("v3"), kinds.Unsupported, Exception, "Unsupported protocol v3."),
    ],
)
def test_an_error_of_a_request_is_of_a_kind_and_of_the_class_that_it_is_in_kserve(error, kind, base, message):
    # row: error-kinds
    assert isinstance(error, kind)
    assert isinstance(error, base)
    assert error.message == str(error) == message


def test_errors_keep_what_they_were_given():
    error = errors.InferenceError("why", status="E1", debug_details={"a": 1})
    assert (error.reason, error.status, error.debug_details) == ("why", "E1", {"a": 1})
    assert errors.InvalidInput("why").reason == "why"
    assert errors.ModelMissingError("/p").path == "/p"
    assert errors.ModelNotReady("m", "x").model_name == "m"


class TestLogging:
    @pytest.fixture(autouse=True)
    def restored(self):
        loggers = [logging.getLogger(name) for name in ("kserve", "kserve.trace")]
        before = [(log.handlers[:], log.level, log.propagate) for log in loggers]
        yield
        for log, (handlers, level, propagate) in zip(loggers, before, strict=True):
            log.handlers[:], log.propagate = handlers, propagate
            log.setLevel(level)

    def test_is_left_alone_where_somebody_has_set_it_up(self):
        logger.addHandler(handler := logging.NullHandler())
        configure_logging()
        assert handler in logger.handlers

    @pytest.mark.parametrize("form", ["dict", "json", "yaml", "ini"])
    def test_comes_from_a_dict_or_a_file(self, form, tmp_path):
        config = {**KSERVE_LOG_CONFIG, "loggers": {"kserve": {"level": "ERROR"}}}
        file = tmp_path / f"log.{form}"
        if form == "ini":
            file.write_text(
                "[loggers]\nkeys=root,k\n[handlers]\nkeys=\n[formatters]\nkeys=\n"
                "[logger_root]\nhandlers=\n[logger_k]\nqualname=kserve\nlevel=ERROR\nhandlers=\n"
            )
        else:
            file.write_text(json.dumps(config) if form == "json" else yaml.safe_dump(config))
        handlers = logging.getLogger().handlers[:]
        configure_logging(config if form == "dict" else str(file))
        logging.getLogger().handlers[:] = handlers
        assert logger.level == logging.ERROR

    def test_writes_to_stderr_by_default(self):
        code = (
            "from dragoman.compat.kserve import logging; logging.configure_logging();"
            "logging.logger.info('hello'); logging.trace_logger.info('traced')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": SOURCE}, capture_output=True, check=True
        )
        first, second = done.stderr.decode().splitlines()
        assert "kserve INFO [<string>:<module>():1] hello" in first
        assert second.endswith("kserve.trace traced")


class TestUtilities:
    def test_ids_are_new_each_time(self):
        assert len({utils.generate_uuid() for _ in range(100)}) == 100

    def test_know_where_they_run(self, tmp_path, monkeypatch):
        monkeypatch.setattr(utils, "_POD", tmp_path / "kubernetes.io")
        assert utils.is_running_in_k8s() is False
        assert utils.get_default_target_namespace() == "default"
        (tmp_path / "kubernetes.io" / "serviceaccount").mkdir(parents=True)
        (tmp_path / "kubernetes.io" / "serviceaccount" / "namespace").write_text("models\n")
        assert utils.is_running_in_k8s() is True
        assert utils.get_default_target_namespace() == "models"
        named = SimpleNamespace(metadata=SimpleNamespace(namespace=None))
        assert utils.get_isvc_namespace(named) == "models"

    def test_count_the_cpus_that_there_are(self, tmp_path):
        assert 1 <= utils.cpu_count() <= 4096
        (tmp_path / "cpu.max").write_text("250000 100000\n")
        assert utils._quota(tmp_path / "cpu.max") == 2
        (tmp_path / "cpu.max").write_text("max 100000\n")
        assert utils._quota(tmp_path / "cpu.max") == 0

    def test_headers_are_of_both_kinds_of_metadata(self):
        item = namedtuple("item", "key value")
        both = SimpleNamespace(
            invocation_metadata=lambda: (item("a", "1"),), trailing_metadata=lambda: (item("b", "2"),)
        )
        assert utils.to_headers(both) == {"a": "1", "b": "2"}
        assert utils.to_headers(SimpleNamespace(invocation_metadata=lambda: None)) == {}

    def test_what_is_missing_or_ragged_is_the_client_s_mistake(self):
        # row: predict-input
        for payload, told in (
            ({"rows": []}, 'Expected "instances" or "inputs"'),
            ({"instances": [[1], [2, 3]]}, "different lengths"),
            (InferRequest("m", []), "no inputs"),
            (3, "unsupported payload type"),
        ):
            with pytest.raises(errors.InvalidInput, match=told):
                utils.get_predict_input(payload)

    def test_tables_come_from_rows_and_from_inputs(self):
        frame = utils.get_predict_input({"inputs": [{"a": [1]}, {"a": [2]}]})
        assert isinstance(frame, pandas.DataFrame)
        assert frame["a"].tolist() == [1, 2]
        inputs = [InferInput("a", [1], "BYTES", [b"x"]), InferInput("b", [1], "INT8", [2])]
        frame = utils.get_predict_input(InferRequest("m", inputs, parameters={"content_type": "pd"}))
        assert frame.to_dict("records") == [{"a": "x", "b": 2}]

    def test_answers_are_in_the_form_of_the_question(self):
        frame = pandas.DataFrame({"a": [1], "b": ["x"]})
        assert utils.get_predict_response({}, frame, "m") == {"predictions": [{"a": 1, "b": "x"}]}
        answer = utils.get_predict_response(InferRequest("m", [], "7"), frame, "m")
        assert [(output.name, output.datatype) for output in answer.outputs] == [
            ("a", "INT64"),
            ("b", "BYTES"),
        ]
        assert answer.id == "7"
        answer = utils.get_predict_response(InferRequest("m", []), np.arange(2), "m")
        assert len(answer.id) == 36


class TestNames:
    def run(self, code):
        return subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                f"from dragoman.compat import install; install('kserve')\n{code}",
            ],
            env={"PYTHONPATH": SOURCE},
            capture_output=True,
            check=False,
        )

    def test_every_module_is_there_under_both_names(self):
        names = [
            ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
            for path in sorted(Path(kserve.__file__).parent.rglob("*.py"))
        ]
        names = [name.replace("dragoman.compat.kserve", "kserve", 1) for name in names]
        done = self.run(
            "import importlib, sys\n"
            f"for name in {[name for name in names if '.ray' not in name and 'openai' not in name]!r}:\n"
            "    module = importlib.import_module(name)\n"
            "    assert module is sys.modules[name.replace('kserve', 'dragoman.compat.kserve', 1)], name\n"
            "import kserve.dialect; assert kserve.dialect.spoken() == '0.21'"
        )
        assert done.returncode == 0, done.stderr.decode()

    def test_importing_it_takes_nothing_that_is_not_needed(self):
        heavy = ("fastapi", "google", "grpc", "httpx", "pandas", "pydantic", "ray", "yaml")
        done = self.run(
            "import kserve, kserve.model, kserve.utils.utils, kserve.protocol.infer_type, sys\n"
            f"print([name for name in {heavy!r} if name in sys.modules])"
        )
        assert done.stdout.decode().strip() == "[]", done.stderr.decode()

    @pytest.mark.parametrize(
        "line",
        [
            "from kserve import KServeClient",
            "from kserve import V1beta1InferenceService",
            "import kserve.api.kserve_client",
        ],
    )
    def test_what_manages_a_cluster_is_elsewhere(self, line):
        # row: kubernetes
        done = self.run(line)
        assert done.returncode == 1
        assert b"it manages a Kubernetes cluster" in done.stderr

    def test_the_server_s_insides_are_not_offered(self):
        # row: server-insides
        done = self.run("import kserve.protocol.rest.v2_endpoints")
        assert b"Dragoman's own server takes its place" in done.stderr

    def test_what_is_nowhere_is_not_here(self):
        done = self.run(
            "import kserve\ntry:\n  kserve.nothing\nexcept AttributeError as error:\n  print(error)"
        )
        assert b"has no attribute 'nothing'" in done.stdout

    def test_storage_has_both_of_its_names(self):
        done = self.run(
            "from kserve import Storage\nfrom dragoman.compat import install; install('kserve_storage')\n"
            "import kserve_storage\nassert kserve_storage.Storage is Storage"
        )
        assert done.returncode == 0, done.stderr.decode()

    def test_the_original_may_be_in_the_same_process(self):
        # row: own-registry
        code = (
            "import dragoman.compat.kserve.model, dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2\n"
            "import kserve.model, kserve.metrics\n"
            "assert kserve.Model is not dragoman.compat.kserve.Model"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": SOURCE}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
