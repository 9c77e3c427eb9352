"""The fields of Triton's ModelConfig and what each may hold. Knows no meaning of any.

Names, types and choices are those of Triton's ``model_config.proto``.
"""

from typing import Final

from dragoman.repository.fields import (
    BOOL,
    FLOAT,
    INT32,
    INT64,
    STRING,
    UINT32,
    UINT64,
    Enum,
    Many,
    Map,
    Message,
)

DATATYPE: Final = Enum(
    tuple(
        f"TYPE_{name}"
        for name in (
            *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
            *("FP16", "FP32", "FP64", "STRING", "BF16"),
        )
    )
)
_RESHAPE = Message({"shape": Many(INT64)})
_INPUT = Message(
    {
        "name": STRING,
        "data_type": DATATYPE,
        "format": Enum(("FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW")),
        "dims": Many(INT64),
        "reshape": _RESHAPE,
        "is_shape_tensor": BOOL,
        "allow_ragged_batch": BOOL,
        "optional": BOOL,
        "is_non_linear_format_io": BOOL,
    }
)
_OUTPUT = Message(
    {
        "name": STRING,
        "data_type": DATATYPE,
        "dims": Many(INT64),
        "reshape": _RESHAPE,
        "label_filename": STRING,
        "is_shape_tensor": BOOL,
        "is_non_linear_format_io": BOOL,
    }
)
_BATCH_INPUT = Message(
    {
        "kind": Enum(
            (
                "BATCH_ELEMENT_COUNT",
                "BATCH_ACCUMULATED_ELEMENT_COUNT",
                "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
                "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
                "BATCH_ITEM_SHAPE",
                "BATCH_ITEM_SHAPE_FLATTEN",
            )
        ),
        "target_name": Many(STRING),
        "data_type": DATATYPE,
        "source_input": Many(STRING),
    }
)
_BATCH_OUTPUT = Message(
    {
        "target_name": Many(STRING),
        "kind": Enum(("BATCH_SCATTER_WITH_INPUT_SHAPE",)),
        "source_input": Many(STRING),
    }
)
_VERSION_POLICY = Message(
    {
        "latest": Message({"num_versions": UINT32}),
        "all": Message({}),
        "specific": Message({"versions": Many(INT64)}),
    },
    choices=(("latest", "all", "specific"),),
)
_PINNED = Message({"enable": BOOL})
_GRAPH_INPUT = Map(Message({"dim": Many(INT64)}))
_ACCELERATOR = Message({"name": STRING, "parameters": Map(STRING)})
_OPTIMIZATION = Message(
    {
        "graph": Message({"level": INT32}),
        "priority": Enum(("PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN")),
        "cuda": Message(
            {
                "graphs": BOOL,
                "busy_wait_events": BOOL,
                "graph_spec": Many(
                    Message(
                        {
                            "batch_size": INT32,
                            "input": _GRAPH_INPUT,
                            "graph_lower_bound": Message({"batch_size": INT32, "input": _GRAPH_INPUT}),
                        }
                    )
                ),
                "output_copy_stream": BOOL,
            }
        ),
        "execution_accelerators": Message(
            {
                "gpu_execution_accelerator": Many(_ACCELERATOR),
                "cpu_execution_accelerator": Many(_ACCELERATOR),
            }
        ),
        "input_pinned_memory": _PINNED,
        "output_pinned_memory": _PINNED,
        "gather_kernel_buffer_threshold": UINT32,
        "eager_batching": BOOL,
    }
)
_QUEUE_POLICY = Message(
    {
        "timeout_action": Enum(("REJECT", "DELAY")),
        "default_timeout_microseconds": UINT64,
        "allow_timeout_override": BOOL,
        "max_queue_size": UINT32,
    }
)
_DYNAMIC_BATCHING = Message(
    {
        "preferred_batch_size": Many(INT32),
        "max_queue_delay_microseconds": UINT64,
        "preserve_ordering": BOOL,
        "priority_levels": UINT64,
        "default_priority_level": UINT64,
        "default_queue_policy": _QUEUE_POLICY,
        "priority_queue_policy": Map(_QUEUE_POLICY),
    }
)
_CONTROL = Message(
    {
        "kind": Enum(
            (
                "CONTROL_SEQUENCE_START",
                "CONTROL_SEQUENCE_READY",
                "CONTROL_SEQUENCE_END",
                "CONTROL_SEQUENCE_CORRID",
            )
        ),
        "int32_false_true": Many(INT32),
        "fp32_false_true": Many(FLOAT),
        "bool_false_true": Many(BOOL),
        "data_type": DATATYPE,
    }
)
_INITIAL_STATE = Message(
    {"data_type": DATATYPE, "dims": Many(INT64), "zero_data": BOOL, "data_file": STRING, "name": STRING},
    choices=(("zero_data", "data_file"),),
)
_SEQUENCE_BATCHING = Message(
    {
        "direct": Message({"max_queue_delay_microseconds": UINT64, "minimum_slot_utilization": FLOAT}),
        "oldest": Message(
            {
                "max_candidate_sequences": INT32,
                "preferred_batch_size": Many(INT32),
                "max_queue_delay_microseconds": UINT64,
                "preserve_ordering": BOOL,
            }
        ),
        "max_sequence_idle_microseconds": UINT64,
        "control_input": Many(Message({"name": STRING, "control": Many(_CONTROL)})),
        "state": Many(
            Message(
                {
                    "input_name": STRING,
                    "output_name": STRING,
                    "data_type": DATATYPE,
                    "dims": Many(INT64),
                    "initial_state": Many(_INITIAL_STATE),
                    "use_same_buffer_for_input_output": BOOL,
                    "use_growable_memory": BOOL,
                }
            )
        ),
        "iterative_sequence": BOOL,
    },
    choices=(("direct", "oldest"),),
)
_STEP = Message(
    {
        "model_name": STRING,
        "model_version": INT64,
        "input_map": Map(STRING),
        "output_map": Map(STRING),
        "model_namespace": STRING,
    }
)
_INSTANCE_GROUP = Message(
    {
        "name": STRING,
        "kind": Enum(("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL")),
        "count": INT32,
        "rate_limiter": Message(
            {
                "resources": Many(Message({"name": STRING, "global": BOOL, "count": UINT32})),
                "priority": UINT32,
            }
        ),
        "gpus": Many(INT32),
        "secondary_devices": Many(Message({"kind": Enum(("KIND_NVDLA",)), "device_id": INT64})),
        "profile": Many(STRING),
        "passive": BOOL,
        "host_policy": STRING,
    }
)
_WARMUP_INPUT = Message(
    {
        "data_type": DATATYPE,
        "dims": Many(INT64),
        "zero_data": BOOL,
        "random_data": BOOL,
        "input_data_file": STRING,
    },
    choices=(("zero_data", "random_data", "input_data_file"),),
)
_METRIC = Message(
    {
        "metric_identifier": Message({"family": STRING}),
        "histogram_options": Message({"buckets": Many(FLOAT)}),
    }
)

MODEL_CONFIG: Final = Message(
    {
        "name": STRING,
        "platform": STRING,
        "backend": STRING,
        "runtime": STRING,
        "version_policy": _VERSION_POLICY,
        "max_batch_size": INT32,
        "input": Many(_INPUT),
        "output": Many(_OUTPUT),
        "batch_input": Many(_BATCH_INPUT),
        "batch_output": Many(_BATCH_OUTPUT),
        "optimization": _OPTIMIZATION,
        "dynamic_batching": _DYNAMIC_BATCHING,
        "sequence_batching": _SEQUENCE_BATCHING,
        "ensemble_scheduling": Message({"step": Many(_STEP), "max_inflight_requests": UINT32}),
        "instance_group": Many(_INSTANCE_GROUP),
        "default_model_filename": STRING,
        "cc_model_filenames": Map(STRING),
        "metric_tags": Map(STRING),
        "parameters": Map(Message({"string_value": STRING})),
        "model_warmup": Many(
            Message({"name": STRING, "batch_size": UINT32, "inputs": Map(_WARMUP_INPUT), "count": UINT32})
        ),
        "model_operations": Message({"op_library_filename": Many(STRING)}),
        "model_transaction_policy": Message({"decoupled": BOOL}),
        "model_repository_agents": Message(
            {"agents": Many(Message({"name": STRING, "parameters": Map(STRING)}))}
        ),
        "response_cache": Message({"enable": BOOL}),
        "model_metrics": Message({"metric_control": Many(_METRIC)}),
    },
    choices=(("dynamic_batching", "sequence_batching", "ensemble_scheduling"),),
)
