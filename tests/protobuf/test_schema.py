"""Definitions that have a pool of their own, are what their ``.proto`` files say, and agree with those of clients."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import dragoman
from dragoman.protobuf.schema import Schema
from dragoman.protocols.kserve_v2.messages import SCHEMA
from tests.clients import pools

PROTOCOLS = Path(dragoman.__file__).parent / "protocols"
KSERVE = Path(dragoman.__file__).parent / "compat" / "kserve" / "protocol" / "grpc"
FOLDERS = sorted([*PROTOCOLS.glob("*/protos"), KSERVE / "protos"])
#: Messages whose fields KServe numbers in its own way.
KSERVE_S_OWN = {"RepositoryModelLoadRequest", "RepositoryModelUnloadRequest"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_the_compiled_definitions_are_those_of_the_files(folder, tmp_path):
    """If not: ``make protos``."""
    compiled = tmp_path / "protos.binpb"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.proto"))
    command = ["-I", folder, "--include_imports", f"--descriptor_set_out={compiled}", *files]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *command], check=True)
    checked_in = folder.with_name("protos.binpb")
    assert read(compiled) == read(checked_in)


def read(path):
    return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())


def fields(descriptor):
    return {
        field.number: (field.name, field.type, is_list(field), containing(field))
        for field in descriptor.fields
    }


def is_list(field):
    found = getattr(field, "is_repeated", None)
    return field.label == field.LABEL_REPEATED if found is None else found


def containing(field):
    return field.containing_oneof.name if field.containing_oneof else None


def messages_of(file):
    """Every message of a file, nested ones too, by name without the package."""
    waiting = list(file.message_types_by_name.values())
    while waiting:
        found = waiting.pop()
        waiting += found.nested_types
        yield found.full_name.removeprefix(f"{file.package}."), found


assert pools.triton  # imported apart: its definitions and KServe's would not fit into one pool
CLIENTS = [
    ("tritonclient.grpc.service_pb2", set()),
    ("tritonclient.grpc.model_config_pb2", set()),
    ("kserve.protocol.grpc.grpc_predict_v2_pb2", KSERVE_S_OWN),
]


@pytest.mark.parametrize(("module", "their_own"), CLIENTS)
def test_every_field_of_the_published_clients_is_ours_too(module, their_own):
    theirs = importlib.import_module(module)
    checked = 0
    for name, descriptor in messages_of(theirs.DESCRIPTOR):
        if name in their_own:
            continue
        ours = fields(SCHEMA.message(f"inference.{name}").DESCRIPTOR)
        for number, field in fields(descriptor).items():
            assert ours[number] == field, name
            checked += 1
    assert checked > 40


def test_the_messages_of_kserve_s_api_are_kserve_s():
    theirs = importlib.import_module("kserve.protocol.grpc.grpc_predict_v2_pb2")
    ours = importlib.import_module("dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2")
    for name, descriptor in messages_of(theirs.DESCRIPTOR):
        found = fields(ours.SCHEMA.message(f"inference.{name}").DESCRIPTOR)
        assert fields(descriptor).items() <= found.items(), name
        if "." not in name:
            assert getattr(ours, name).DESCRIPTOR.name == name
    methods = theirs.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    assert set(ours.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name) == set(methods)


@pytest.mark.parametrize("module", ["tritonclient.grpc.service_pb2", "tritonclient.grpc.model_config_pb2"])
def test_enums_have_triton_s_values(module):
    theirs = importlib.import_module(module)
    for name, enum in theirs.DESCRIPTOR.enum_types_by_name.items():
        file = SCHEMA.message("inference.ModelConfig").DESCRIPTOR.file
        ours = file.enum_types_by_name[name]
        assert {v.name: v.number for v in ours.values} == {v.name: v.number for v in enum.values}


@pytest.mark.parametrize(
    "module", ["tritonclient.grpc.service_pb2", "kserve.protocol.grpc.grpc_predict_v2_pb2"]
)
def test_every_method_of_the_published_clients_is_ours_too(module):
    theirs = importlib.import_module(module).DESCRIPTOR.services_by_name["GRPCInferenceService"]
    file = SCHEMA.message("inference.ModelInferRequest").DESCRIPTOR.file
    ours = {method.name: method for method in file.services_by_name["GRPCInferenceService"].methods}
    for method in theirs.methods:
        mine = ours[method.name]
        assert (mine.input_type.full_name, mine.output_type.full_name) == (
            method.input_type.full_name,
            method.output_type.full_name,
        )


def test_two_schemas_with_the_same_names_do_not_meet():
    path = PROTOCOLS / "kserve_v2" / "protos.binpb"
    first, second = Schema(path.read_bytes()), Schema(path.read_bytes())
    name = "inference.ModelInferRequest"
    assert first.message(name) is not second.message(name)
    with pytest.raises(KeyError):
        first.message("inference.Nope")


def test_a_symbol_leads_to_its_file_and_what_that_imports():
    assert SCHEMA.file_of("inference.ModelConfig") == "model_config.proto"
    assert SCHEMA.file_of("inference.GRPCInferenceService.ModelInfer") == "grpc_service.proto"
    assert SCHEMA.file_of("inference.Nope") is None
    assert list(SCHEMA.with_imports("grpc_service.proto")) == [
        SCHEMA.files["grpc_service.proto"],
        SCHEMA.files["model_config.proto"],
    ]
