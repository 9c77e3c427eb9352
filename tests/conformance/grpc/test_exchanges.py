"""Every recorded call of the Open Inference Protocol, made to a live server."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from dragoman.config import ServerSettings, Settings
from dragoman.protocols.kserve_v2 import messages
from dragoman.testing import TestClient
from tests.conformance.grpc.calls import DIFFERENCES, Service, differences, make, read_cases
from tests.conformance.models import write_control_repository, write_v2_repository
from tests.conformance.test_exchanges import with_keys
from tests.memory import shared_object

FOLDERS = {"v2": Path(__file__).parent, "kserve": Path(__file__).parent / "kserve"}
LIVE = [(server, case) for server, folder in FOLDERS.items() for case in read_cases(folder)]
TALK = read_cases(Path(__file__).parent / "control")
SHARING = read_cases(Path(__file__).parent / "shared_memory")
ALL = [*LIVE, *(("control", case) for case in TALK), *(("shared_memory", case) for case in SHARING)]
IDS = [f"{server}/{case.id}" for server, case in ALL]


def _messages(method):
    request = "ModelInfer" if method == "ModelStreamInfer" else method
    return f"inference.{request}Request", f"inference.{method}Response"


SERVICE = Service(messages.SERVICE, messages.SCHEMA, _messages)


@pytest.fixture(scope="module")
def channels(servers):
    with (
        grpc.insecure_channel(servers["v2"].grpc) as v2,
        grpc.insecure_channel(servers["kserve"].grpc) as kserve,
    ):
        yield {"v2": v2, "kserve": kserve}


@pytest.mark.parametrize(("server", "case"), LIVE, ids=IDS[: len(LIVE)])
def test_the_live_server_answers_as_promised(channels, server, case):
    assert differences(make(channels[server], SERVICE, case), SERVICE, case) == []


def test_the_live_server_keeps_up_a_conversation_about_loading_and_unloading(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_control_repository(tmp_path / "models")
    settings = Settings(server=ServerSettings(control="explicit", load_model=("*",)))
    wrong = {}
    with (
        TestClient(str(tmp_path / "models"), settings=settings, strict=False) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        for case in TALK:
            server.call(server.app.engine.lifecycle.drained)
            if found := differences(make(channel, SERVICE, case), SERVICE, case):
                wrong[case.name] = found
    assert wrong == {}


def test_the_live_server_keeps_up_a_conversation_about_shared_memory(tmp_path):
    write_v2_repository(tmp_path / "models")
    settings = Settings(server=ServerSettings(client_shm=True))
    wrong = {}
    with (
        shared_object(64, np.array([1, 2, 3, 4, 0.5, 0.5, 0.5, 0.5], "<f4").tobytes()) as memory,
        TestClient(str(tmp_path / "models"), settings=settings, strict=False) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        for case in SHARING:
            case = with_keys(case, {"/golden_g": memory.key})
            if found := differences(make(channel, SERVICE, case), SERVICE, case):
                wrong[case.name] = found
        assert np.frombuffer(memory.read()[32:48], "<f4").tolist() == [1.5, 2.5, 3.5, 4.5]
    assert wrong == {}


@pytest.mark.parametrize(("server", "case"), ALL, ids=IDS)
def test_a_case_that_differs_says_what_and_why(server, case):
    assert bool(case.ours) == bool(case.rows)
    assert case.ours.keys() <= DIFFERENCES
    same = [key for key, value in case.ours.items() if case.original.get(key) == value]
    assert same == [], "ours repeats the original"


def test_every_case_has_a_name_of_its_own():
    assert len(set(IDS)) == len(IDS)
