"""Triton's configurations: every field is known, what can be done is done, and what can't is told."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor as F
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.protocols.kserve_v2.metadata import encode_config
from dragoman.repository import fields
from dragoman.repository.fields import Enum, Kind, Many, Map, Message, Scalar, check
from dragoman.repository.spec import Description
from dragoman.repository.triton_config import check_config, configure, parse_config
from dragoman.repository.triton_fields import MODEL_CONFIG
from dragoman.repository.triton_remarks import _WITHOUT as WITHOUT
from dragoman.types import DTYPES, Signature, TensorSpec

from .test_layouts import make

PLAIN = Description(ModelSettings())
TENSOR = {"name": "x", "data_type": "TYPE_FP32", "dims": [4]}


def tried(read: Callable[[], Any]) -> Any:
    """What comes of it; of a ConfigError its text."""
    try:
        return read()
    except ConfigError as error:
        return str(error)


def described(config: dict[str, Any], base: Description = PLAIN, folder: Path | None = None) -> Description:
    return configure(check_config(config), "m", base, folder).description


def settings(**config: Any) -> ModelSettings:
    return described(config).settings


def remarks(**config: Any) -> set[str]:
    return {remark.field for remark in configure(check_config(config), "m", PLAIN).remarks}


# fields


def kind_of(kind: Kind) -> Any:
    """A kind as plain data, to be compared."""
    if isinstance(kind, Message):
        choices = {name: place for place, group in enumerate(kind.choices) for name in group}
        return {name: (choices.get(name), kind_of(inner)) for name, inner in kind.fields.items()}
    if isinstance(kind, Many):
        return [kind_of(kind.of)]
    if isinstance(kind, Map):
        return ("map", kind_of(kind.of))
    return kind.names if isinstance(kind, Enum) else kind.name


def kind_of_proto(message: Any) -> Any:
    """A message of the published definition, in the same form."""

    def of_field(field: Any) -> Any:
        names = {F.TYPE_STRING: "STRING", F.TYPE_BOOL: "BOOL", F.TYPE_FLOAT: "FLOAT", F.TYPE_DOUBLE: "FLOAT"}
        names |= {
            F.TYPE_INT32: "INT32",
            F.TYPE_INT64: "INT64",
            F.TYPE_UINT32: "UINT32",
            F.TYPE_UINT64: "UINT64",
        }
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return ("map", of_field(field.message_type.fields_by_name["value"]))
        if field.message_type is not None:
            kind = kind_of_proto(field.message_type)
        elif field.enum_type is not None:
            assert [value.number for value in field.enum_type.values] == [*range(len(field.enum_type.values))]
            kind = tuple(value.name for value in field.enum_type.values)
        else:
            kind = getattr(fields, names[field.type]).name
        return [kind] if field.is_repeated else kind

    # A choice with one member is no choice.
    groups = [group for group in message.oneofs if len(group.fields) > 1]
    places = {field.name: place for place, group in enumerate(groups) for field in group.fields}
    return {field.name: (places.get(field.name), of_field(field)) for field in message.fields}


def published() -> Any:
    """ModelConfig as tritonclient has it, in a pool of its own: other clients define messages of the same names."""
    code = (
        "import sys, tritonclient.grpc.model_config_pb2 as m;"
        " sys.stdout.buffer.write(m.DESCRIPTOR.serialized_pb)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    pool = DescriptorPool()
    pool.AddSerializedFile(done.stdout)
    return pool.FindMessageTypeByName("inference.ModelConfig")


def test_the_fields_are_those_of_the_published_definition() -> None:
    assert kind_of(MODEL_CONFIG) == kind_of_proto(published())


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Whatever a field may hold."""
    if isinstance(kind, Message):
        optional = {name: values_of(inner) for name, inner in kind.fields.items()}
        chosen = st.fixed_dictionaries({}, optional=optional)
        return chosen.map(lambda found: _one_of_each_choice(found, kind))
    if isinstance(kind, Many):
        return st.lists(values_of(kind.of), max_size=2)
    if isinstance(kind, Map):
        return st.dictionaries(st.text("ab", min_size=1, max_size=2), values_of(kind.of), max_size=2)
    if isinstance(kind, Enum):
        return st.sampled_from(kind.names)
    return {
        "a text": st.text(max_size=5),
        "true or false": st.booleans(),
        "a number": st.floats(allow_nan=False, allow_infinity=False),
        "a whole number of 32 bits": st.integers(-(2**31), 2**31 - 1),
        "a whole number of 64 bits": st.integers(-(2**63), 2**63 - 1),
        "a whole number of 32 bits, from 0 on": st.integers(0, 2**32 - 1),
        "a whole number of 64 bits, from 0 on": st.integers(0, 2**63 - 1),  # JSON's parser knows no more
    }[kind.name]


def _one_of_each_choice(found: dict[str, Any], message: Message) -> dict[str, Any]:
    for group in message.choices:
        for name in [name for name in group if name in found][1:]:
            del found[name]
    return found


CONFIGS = values_of(MODEL_CONFIG)


@given(CONFIGS)
def test_whatever_the_definition_allows_is_read_and_is_a_description_or_a_reason(
    config: dict[str, Any],
) -> None:
    checked = parse_config(json.dumps(config))
    assert checked == config
    found = tried(lambda: configure(checked, "m", PLAIN))
    if isinstance(found, str):
        assert found
        return
    said = found.description.settings
    assert said.instances >= 1
    assert said.max_batch >= 0
    assert all(size >= 1 for size in said.preferred_batch)
    assert said.max_delay >= 0


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MODEL_CONFIG.fields, "x"]), inner, max_size=3)
)))  # fmt: skip
def test_anything_else_is_a_reason(document: Any) -> None:
    assert tried(lambda: configure(check_config(document), "m", PLAIN)) != ""


def test_names_may_be_spelled_and_numbers_written_as_protobuf_does() -> None:
    config = parse_config(
        '{"maxBatchSize": 4, "dynamicBatching": {"maxQueueDelayMicroseconds": "100"},'
        ' "input": [{"name": "x", "dataType": 11, "dims": ["4"]}], "output": null}'
    )
    assert config == {
        "max_batch_size": 4,
        "dynamic_batching": {"max_queue_delay_microseconds": 100},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{bad", "not JSON"),
        ('{"a": "\ud800"}', "not JSON"),
        ("[]", "config must be an object"),
        ('{"zzz": 1}', "config has no field 'zzz'"),
        ('{"max_batch_size": "x"}', "config.max_batch_size must be a whole number of 32 bits, got 'x'"),
        ('{"max_batch_size": 2147483648}', "whole number of 32 bits"),
        ('{"max_batch_size": true}', "whole number of 32 bits"),
        ('{"max_batch_size": 1.5}', "whole number of 32 bits"),
        ('{"max_batch_size": 1, "maxBatchSize": 1}', "twice"),
        ('{"name": 1}', "config.name must be a text"),
        ('{"input": {}}', "config.input must be a list"),
        ('{"input": [{"data_type": "FP32"}]}', r"config.input\[0\].data_type must be one of TYPE_INVALID"),
        ('{"parameters": []}', "config.parameters must be an object"),
        ('{"version_policy": {"all": {}, "latest": {}}}', "only one of latest, all"),
        ('{"dynamic_batching": {}, "sequence_batching": {}}', "only one of"),
    ],
)
def test_what_no_configuration_can_be_is_told(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_config(text)


# what it means


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {}),
        ({"backend": "onnxruntime"}, {"runtime": "onnx"}),
        ({"platform": "onnxruntime_onnx"}, {"runtime": "onnx"}),
        ({"platform": "pytorch_libtorch"}, {"runtime": "torch"}),
        ({"backend": "pytorch"}, {"runtime": "torch"}),
        ({"backend": "python"}, {"runtime": "python"}),
        ({"backend": "xgboost"}, {"runtime": "xgboost"}),
        ({"max_batch_size": 8}, {"max_batch": 8}),
        ({"version_policy": {"latest": {"num_versions": 2}}}, {"versions": "latest:2"}),
        ({"version_policy": {}}, {"versions": "latest:1"}),
        ({"version_policy": {"all": {}}}, {"versions": "all"}),
        ({"version_policy": {"specific": {"versions": [3, 1]}}}, {"versions": "specific:3,1"}),
        ({"instance_group": [{"count": 2}, {"kind": "KIND_CPU"}]}, {"instances": 3}),
        ({"instance_group": [{"count": 2}, {"count": 5, "passive": True}]}, {"instances": 2}),
        ({"instance_group": []}, {"instances": 1}),
        ({"dynamic_batching": {"max_queue_delay_microseconds": 1500}}, {"max_delay": 0.0015}),
        ({"dynamic_batching": {"preferred_batch_size": [4, 8]}}, {"preferred_batch": (4, 8)}),
        ({"dynamic_batching": {"default_queue_policy": {"max_queue_size": 9}}}, {"queue_size": 9}),
        ({"model_warmup": [{"name": "a", "count": 3}, {"name": "b"}]}, {"warmup": 4}),
    ],
)
def test_fields_become_settings(config: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings(**config) == ModelSettings(**expected)


def test_what_a_configuration_does_not_say_stays() -> None:
    base = Description(
        ModelSettings(queue_size=7, max_batch=3, runtime="python", instances=2),
        "f.py",
        "m:C",
        {"batched": True, "x": 1},
        ({"name": "a"},),
        ({"name": "b"},),
    )
    assert described({}, base) == base
    changed = described({"max_batch_size": 5, "parameters": {"p": {"string_value": "q"}}}, base)
    assert (changed.entry, changed.file, changed.inputs) == ("m:C", "f.py", base.inputs)
    assert changed.settings == ModelSettings(queue_size=7, max_batch=5, runtime="python", instances=2)
    assert changed.options == {"x": 1, "parameters": {"p": "q"}}


def test_a_tensors_shape_is_whole_and_has_the_rows_of_a_batch() -> None:
    tensors = {
        "input": [{**TENSOR, "optional": True}],
        "output": [{"name": "y", "data_type": 13, "dims": [-1, 2]}],
    }
    batched = described({"max_batch_size": 2, **tensors})
    assert batched.inputs == ({"name": "x", "datatype": "FP32", "shape": [-1, 4], "optional": True},)
    assert batched.outputs == ({"name": "y", "datatype": "BYTES", "shape": [-1, -1, 2]},)
    assert "batched" not in batched.options
    single = described(tensors)
    assert [table["shape"] for table in (*single.inputs, *single.outputs)] == [[4], [-1, 2]]
    assert single.options == {"batched": False}


def test_labels_are_read_from_the_models_folder_or_stay(tmp_path: Path) -> None:
    make(tmp_path, "labels.txt=cat\ndog\n")
    config = {"max_batch_size": 1, "output": [{**TENSOR, "label_filename": "labels.txt"}]}
    assert described(config, folder=tmp_path).outputs[0]["labels"] == ["cat", "dog"]
    base = Description(ModelSettings(), outputs=({"name": "x", "labels": ["bird"]},))
    assert described(config, base).outputs[0]["labels"] == ["bird"]
    config["output"][0]["label_filename"] = "none.txt"
    assert described(config, base, tmp_path).outputs[0]["labels"] == ["bird"]
    for file in ("none.txt", "../labels.txt", "/etc/hostname", "a\0b"):
        config["output"][0]["label_filename"] = file
        with pytest.raises(ConfigError, match="label_filename"):
            described(config, folder=tmp_path)


def test_the_file_is_the_one_that_is_named_where_there_is_one(tmp_path: Path) -> None:
    make(tmp_path, "1/second.onnx", "[2].onnx")
    for name in ("second.onnx", "[2].onnx"):
        assert described({"default_model_filename": name}, folder=tmp_path).file == name
    found = configure(
        {"default_model_filename": "third.onnx"}, "m", Description(ModelSettings(), "f"), tmp_path
    )
    assert found.description.file == "f"
    assert [remark.field for remark in found.remarks] == ["default_model_filename"]
    for name in ("../x.onnx", "1/second.onnx", "..", "a\0"):
        with pytest.raises(ConfigError, match="default_model_filename"):
            described({"default_model_filename": name}, folder=tmp_path)


def test_parameters_are_options_where_the_runtime_has_such() -> None:
    threads = {"intra_op_thread_count": {"string_value": "2"}, "zzz": {"string_value": "1"}}
    found = configure({"backend": "onnxruntime", "parameters": threads}, "m", PLAIN)
    assert found.description.options == {"intra_op_threads": 2}
    assert [remark.field for remark in found.remarks] == ["parameters.zzz"]
    with pytest.raises(ConfigError, match="whole number"):
        described({"backend": "pytorch", "parameters": {"INTRA_OP_THREAD_COUNT": {"string_value": "x"}}})


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"name": "other"}, "that of model 'other'"),
        ({"ensemble_scheduling": {"step": [{}]}}, "ensembles are not served yet"),
        ({"sequence_batching": {"direct": {}}}, "not kept together"),
        ({"model_transaction_policy": {"decoupled": True}}, "as often as they like"),
        ({"model_repository_agents": {"agents": [{"name": "checksum"}]}}, "what the agents do"),
        ({"batch_input": [{}]}, "not made yet"),
        ({"batch_output": [{}]}, "not cut"),
        ({"max_batch_size": -1}, "0 or more"),
        (
            {"max_batch_size": 4, "dynamic_batching": {"preferred_batch_size": [8]}},
            "from 1 to max_batch_size",
        ),
        ({"dynamic_batching": {"preferred_batch_size": [0]}}, "from 1 to max_batch_size"),
        ({"instance_group": [{"count": -1}]}, "0 or more"),
        ({"instance_group": [{"count": 2_000_000_000}]}, "from 1 to 1000"),
        ({"instance_group": [{"passive": True}]}, "from 1 to 1000"),
        ({"version_policy": {"specific": {}}}, "versions from 1 on"),
        ({"version_policy": {"specific": {"versions": [0]}}}, "versions from 1 on"),
        ({"model_warmup": [{"count": 4_000_000_000}]}, "at most 10000 times"),
        ({"input": [{**TENSOR, "name": ""}]}, "a name of its own"),
        ({"input": [TENSOR, TENSOR]}, "a name of its own"),
        ({"input": [{"name": "x", "dims": [1]}]}, "needs a data_type"),
        ({"input": [{"name": "x", "data_type": "TYPE_FP32"}]}, "needs dims"),
        ({"output": [{**TENSOR, "dims": [0]}]}, "positive, or -1"),
    ],
)
def test_what_would_be_served_otherwise_than_it_says_is_not_served(
    config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        described(config)


#: For each field that has no effect: a value that says something.
SAYING = {
    "runtime": "libother.so",
    "input[].format": {"input": [{**TENSOR, "format": "FORMAT_NHWC"}]},
    "input[].is_shape_tensor": {"input": [{**TENSOR, "is_shape_tensor": True}]},
    "input[].is_non_linear_format_io": {"input": [{**TENSOR, "is_non_linear_format_io": True}]},
    "input[].allow_ragged_batch": {"input": [{**TENSOR, "allow_ragged_batch": True}]},
    "output[].is_shape_tensor": {"output": [{**TENSOR, "is_shape_tensor": True}]},
    "output[].is_non_linear_format_io": {"output": [{**TENSOR, "is_non_linear_format_io": True}]},
    "optimization.graph": {"optimization": {"graph": {"level": 1}}},
    "optimization.priority": {"optimization": {"priority": "PRIORITY_MAX"}},
    "optimization.cuda": {"optimization": {"cuda": {"graphs": True}}},
    "optimization.execution_accelerators": {
        "optimization": {"execution_accelerators": {"cpu_execution_accelerator": [{"name": "openvino"}]}}
    },
    "optimization.gather_kernel_buffer_threshold": {"optimization": {"gather_kernel_buffer_threshold": 1}},
    "optimization.eager_batching": {"optimization": {"eager_batching": True}},
    "dynamic_batching.preserve_ordering": {"dynamic_batching": {"preserve_ordering": True}},
    "dynamic_batching.priority_levels": {"dynamic_batching": {"priority_levels": 2}},
    "dynamic_batching.default_priority_level": {"dynamic_batching": {"default_priority_level": 1}},
    "dynamic_batching.priority_queue_policy": {
        "dynamic_batching": {"priority_queue_policy": {"1": {"max_queue_size": 1}}}
    },
    "dynamic_batching.default_queue_policy.timeout_action": {
        "dynamic_batching": {"default_queue_policy": {"timeout_action": "DELAY"}}
    },
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": {
        "dynamic_batching": {"default_queue_policy": {"default_timeout_microseconds": 1}}
    },
    "instance_group[].rate_limiter": {"instance_group": [{"rate_limiter": {"priority": 1}}]},
    "instance_group[].gpus": {"instance_group": [{"gpus": [1]}]},
    "instance_group[].secondary_devices": {"instance_group": [{"secondary_devices": [{"device_id": 1}]}]},
    "instance_group[].profile": {"instance_group": [{"profile": ["0"]}]},
    "instance_group[].host_policy": {"instance_group": [{"host_policy": "numa_0"}]},
    "cc_model_filenames": {"cc_model_filenames": {"8.0": "x.plan"}},
    "metric_tags": {"metric_tags": {"a": "b"}},
    "model_operations": {"model_operations": {"op_library_filename": ["x.so"]}},
    "response_cache": {"response_cache": {"enable": True}},
    "model_metrics": {"model_metrics": {"metric_control": [{"histogram_options": {"buckets": [1.0]}}]}},
}  # fmt: skip


@pytest.mark.parametrize("field", WITHOUT)
def test_a_field_without_effect_is_told_of(field: str) -> None:
    value = SAYING[field]
    assert remarks(**(value if isinstance(value, dict) else {field: value})) == {field}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"input": [{**TENSOR, "reshape": {"shape": [2, 2]}}]}, "input[].reshape"),
        ({"output": [{**TENSOR, "reshape": {"shape": [1]}}]}, "output[].reshape"),
        ({"instance_group": [{"kind": "KIND_GPU"}]}, "instance_group[].kind"),
        ({"model_warmup": [{"inputs": {"x": {"random_data": True}}}]}, "model_warmup[].inputs"),
        ({"model_warmup": [{"batch_size": 8}]}, "model_warmup[].batch_size"),
    ],
)
def test_so_is_one_with_half_an_effect(config: dict[str, Any], field: str) -> None:
    assert remarks(**config) == {field}


def test_defaults_that_are_written_out_say_nothing() -> None:
    config = {
        "runtime": "",
        "input": [{**TENSOR, "format": "FORMAT_NONE", "is_shape_tensor": False}],
        "optimization": {
            "priority": "PRIORITY_DEFAULT",
            "input_pinned_memory": {"enable": True},
            "gather_kernel_buffer_threshold": 0,
        },
        "dynamic_batching": {
            "default_queue_policy": {"timeout_action": "REJECT"},
            "priority_queue_policy": {},
        },
        "instance_group": [{"kind": "KIND_CPU", "gpus": [], "profile": []}],
        "response_cache": {"enable": False},
        "metric_tags": {},
    }
    assert remarks(**config) == set()


# what /config tells, load takes

NAMES = st.text("abXY_0", min_size=1, max_size=4)
SIZES = st.lists(st.sampled_from([-1, 1, 3, 224]), min_size=1, max_size=3)


@st.composite
def served(draw: st.DrawFn) -> tuple[Signature, ModelSettings]:
    """A signature and settings as a model runs with."""
    most = draw(st.integers(0, 64))

    def specs() -> tuple[TensorSpec, ...]:
        names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        rows = (-1,) if most else ()
        return tuple(
            TensorSpec(name, draw(st.sampled_from([*DTYPES])), (*rows, *draw(SIZES)), draw(st.booleans()))
            for name in names
        )

    delay = draw(st.integers(0, 10**6)) / 1e6
    policy = draw(st.sampled_from(["latest:1", "latest:3", "all", "specific:1,3"]))
    said = ModelSettings(
        runtime="python", instances=draw(st.integers(1, 9)), max_batch=most, max_delay=delay if most else 0.0,
        versions=policy,
    )  # fmt: skip
    return Signature(specs(), specs(), bool(most), most), said


@given(served())
def test_what_the_server_tells_of_a_model_is_a_configuration_that_loads_the_same(
    running: tuple[Signature, ModelSettings],
) -> None:
    signature, said = running
    told = parse_config(encode_config("m", "python", signature, said).decode())
    found = configure(told, "m", PLAIN)
    got = found.description
    assert found.remarks == ()
    compared = ("runtime", "instances", "max_batch", "max_delay", "versions")
    assert [getattr(got.settings, name) for name in compared] == [getattr(said, name) for name in compared]
    inputs = [(s["name"], s["datatype"], tuple(s["shape"]), s.get("optional", False)) for s in got.inputs]
    assert inputs == [(s.name, s.datatype, s.shape, s.optional) for s in signature.inputs]
    outputs = [(s["name"], s["datatype"], tuple(s["shape"])) for s in got.outputs]
    assert outputs == [(s.name, s.datatype, s.shape) for s in signature.outputs]


@given(st.text(max_size=8) | st.integers() | st.none() | st.floats())
def test_a_scalar_is_of_its_type_or_a_reason(value: Any) -> None:
    for kind in (MODEL_CONFIG.fields["name"], MODEL_CONFIG.fields["max_batch_size"]):
        assert isinstance(kind, Scalar)
        found = tried(lambda kind=kind: (check(value, kind, "x"),))
        if isinstance(found, str):
            assert "x must be" in found
        else:
            assert type(found[0]) is (str if kind.name == "a text" else int)
