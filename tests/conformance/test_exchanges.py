"""Every recorded exchange, sent to a live server as raw bytes, and those of v2 to the codec alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dragoman.app import find_models
from dragoman.config import ServerSettings, Settings
from dragoman.engine.check import compile_check
from dragoman.errors import DragomanError, Mismatch
from dragoman.protocols.kserve_v2 import codec
from dragoman.runtimes.base import Artifact
from dragoman.runtimes.python import PythonRuntime
from dragoman.testing import TestClient
from dragoman.transport.status import STATUS, error_body
from tests.conformance.exchange import DIFFERENCES, differences, read_cases, send, to_bytes
from tests.conformance.models import write_control_repository, write_v2_repository
from tests.memory import shared_object

FOLDERS = ("v2", "kserve", "generate")
CASES = {folder: read_cases(Path(__file__).parent / folder) for folder in FOLDERS}
LIVE = [(folder, case) for folder in FOLDERS for case in CASES[folder]]
#: Conversations: exchanges that build on each other, and with what else is promised.
TALKS = {
    folder: read_cases(Path(__file__).parent / folder) for folder in ("control", "uploads", "shared_memory")
}
ALL = [*LIVE, *((folder, case) for folder, cases in TALKS.items() for case in cases)]
IDS = [f"{folder}/{case.id}" for folder, case in ALL]

# What raises or sleeps or is not there has no answer that a codec could give.
NOT_PURE = ("exec_error", "bad_init", "nope", "multi_version/versions/2", "versions/9", "versions/abc")
PURE = [
    case
    for case in CASES["v2"]
    if case.request.get("request", "").endswith("/infer")
    and case.request["request"].startswith("POST")
    and case.file != "compression"
    and not any(part in case.request["request"] for part in NOT_PURE)
]


@pytest.mark.parametrize(("folder", "case"), LIVE, ids=IDS[: len(LIVE)])
def test_the_live_server_answers_as_promised(servers, folder, case):
    head_only = case.request.get("request", "").startswith("HEAD")
    answer = send(servers[folder].app.port, to_bytes(case), head_only=head_only)
    assert differences(answer, case.expected) == []


@pytest.mark.parametrize(("folder", "trusts"), [("control", True), ("uploads", False)])
def test_the_live_server_keeps_up_a_conversation_about_loading_and_unloading(
    tmp_path, monkeypatch, folder, trusts
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_control_repository(tmp_path / "models")
    control = ServerSettings(control="explicit", load_model=("*",), trust_uploads=trusts)
    wrong = {}
    with TestClient(str(tmp_path / "models"), settings=Settings(server=control), strict=False) as server:
        for case in TALKS[folder]:
            server.call(server.app.engine.lifecycle.drained)
            if found := differences(send(server.app.port, to_bytes(case)), case.expected):
                wrong[case.name] = found
    assert wrong == {}


def test_the_live_server_keeps_up_a_conversation_about_shared_memory(tmp_path):
    write_v2_repository(tmp_path / "models")
    settings = Settings(server=ServerSettings(client_shm=True))
    wrong = {}
    with (
        shared_object(64, np.array([1, 2, 3, 4, 0.5, 0.5, 0.5, 0.5], "<f4").tobytes()) as given,
        shared_object(64) as taken,
        TestClient(str(tmp_path / "models"), settings=settings, strict=False) as server,
    ):
        keys = {"/golden_in": given.key, "/golden_out": taken.key}
        for case in TALKS["shared_memory"]:
            case = with_keys(case, keys)
            if found := differences(send(server.app.port, to_bytes(case)), case.expected):
                wrong[case.name] = found
        assert np.frombuffer(taken.read()[:32], "<f4").tolist() == [1.5, 2.5, 3.5, 4.5, 0.5, 1.5, 2.5, 3.5]
    assert wrong == {}


@pytest.mark.parametrize("case", PURE, ids=[case.id for case in PURE])
def test_the_codec_alone_answers_as_promised(runtimes, case):
    name = case.request["request"].split("/")[3]
    status, body = answer_without_server(runtimes[name], name, case)
    assert status == case.expected["status"]
    expected = case.expected.get("body", "").encode() + bytes.fromhex(case.expected.get("raw", ""))
    assert body == expected


@pytest.mark.parametrize(("folder", "case"), ALL, ids=IDS)
def test_a_case_that_differs_says_what_and_why(folder, case):
    assert bool(case.ours) == bool(case.rows)
    assert case.ours.keys() <= DIFFERENCES
    same = [key for key, value in case.ours.items() if case.original.get(key) == value]
    assert same == [], "ours repeats the original"


@pytest.mark.parametrize("folder", [*FOLDERS, *TALKS])
def test_every_case_has_a_name_of_its_own(folder):
    ids = [case.id for case in (CASES | TALKS)[folder]]
    assert len(set(ids)) == len(ids)


def test_there_are_as_many_cases_as_there_were():
    cases = CASES | TALKS
    assert {folder: len(cases[folder]) for folder in cases} == {
        "v2": 211,
        "kserve": 90,
        "generate": 39,
        "control": 33,
        "uploads": 1,
        "shared_memory": 33,
    }
    assert len(PURE) > 100


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory):
    """The recorded models, loaded without any server."""
    root = tmp_path_factory.mktemp("models")
    write_v2_repository(root / "v2")
    loaded = {}
    for source in find_models([str(root / "v2")], Settings()):
        if source.name != "bad_init":
            options = {**source.options, "inputs": source.inputs, "outputs": source.outputs}
            artifact = Artifact(
                source.name, source.version, source.path, source.entry, options, source.trusted
            )
            loaded[source.name] = PythonRuntime.load(artifact)
    return loaded


def with_keys(case, keys):
    """The same case about other objects of shared memory."""
    text = json.dumps([case.request, case.original, case.ours])
    for recorded, own in keys.items():
        text = text.replace(recorded, own)
    request, original, ours = json.loads(text)
    return replace(case, request=request, original=original, ours=ours)


def answer_without_server(runtime, name, case):
    """Status and body by way of codec, check and model, with nothing between them."""
    try:
        length = case.header("Inference-Header-Content-Length")
        request, wanted = codec.decode_infer(name, "1", case.body, length, runtime.signature)
        compile_check(name, runtime.signature)(request)
        response = runtime.execute(request)
        response.id = request.id
        buffers, _ = codec.encode_infer(response, wanted, runtime.signature)
    except Mismatch as error:
        return 400, error_body(f"[request id: {request.id or '<id_unknown>'}] {error.message}")
    except DragomanError as error:
        return STATUS[error.code], error_body(error.message)
    return 200, b"".join(buffers)
