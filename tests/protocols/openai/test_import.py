"""What is imported when: nothing heavy before there is a model, and nothing of vLLM ever."""

import subprocess
import sys

import pytest

SURFACE = "dragoman.compat.kserve.protocol.rest.openai"


def modules_after(code):
    run = f"{code}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_server_starts_without_pydantic():
    assert not {"pydantic", "httpx", SURFACE} & modules_after("import dragoman.app")


@pytest.mark.parametrize("name", ["OpenAIEncoderModel", "OpenAIChatAdapterModel", "OpenAIGenerativeModel"])
def test_a_model_brings_its_types_along_and_nothing_else(name):
    # row: openai-without-vllm
    loaded = modules_after(f"from {SURFACE} import {name}")
    assert "pydantic" in loaded
    assert not {"vllm", "torch", "fastapi", "httpx"} & loaded


def test_only_the_proxy_brings_a_client():
    assert "httpx" in modules_after(f"from {SURFACE} import OpenAIProxyModel")


def test_the_types_have_the_names_that_kserve_gives_them():
    import dragoman.compat.kserve.protocol.rest.openai.types as types

    assert all(getattr(types, name).__name__ for name in types.__all__ if name[0].isupper())
    assert sorted(types.__all__) == types.__all__
