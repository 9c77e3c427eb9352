"""What the management API can be asked, for its description: names, defaults, and a sentence each."""

from typing import Final, NamedTuple


class Parameter(NamedTuple):
    """One of a path or a query."""

    name: str
    text: str
    kind: str = "string"
    default: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False


_WAIT: Final = "Accepted and without meaning here: a worker completes what it was given."
LIST: Final = (
    Parameter(
        "limit",
        "Use this parameter to specify the maximum number of items to return. It must be between 0 and 100,"
        " inclusive, and defaults to 100.",
        "integer",
        "100",
    ),
    Parameter(
        "next_page_token",
        "The token to retrieve the next set of results. TorchServe provides the token when the response from a"
        " previous call has more results than the maximum page size.",
    ),
)
REGISTER: Final = (
    Parameter(
        "url",
        "Model archive download url, support local file or HTTP(s) protocol. For S3, consider use pre-signed url.",
        required=True,
    ),
    Parameter("model_name", "Name of model. This value will override modelName in MANIFEST.json if present."),
    Parameter(
        "handler",
        "Inference handler entry-point. This value will override handler in MANIFEST.json if present.",
    ),
    Parameter(
        "runtime",
        "Runtime for the model custom service code. This value will override runtime in MANIFEST.json if present.",
        choices=("PYTHON", "PYTHON3"),
    ),
    Parameter("batch_size", "Inference batch size, default: 1.", "integer", "1"),
    Parameter("max_batch_delay", "Maximum delay for batch aggregation, default: 100.", "integer", "100"),
    Parameter(
        "response_timeout",
        "Maximum time, in seconds, the TorchServe waits for a response from the model inference code, default: 120.",
        "integer",
        "120",
    ),
    Parameter(
        "startup_timeout",
        "Maximum time, in seconds, the TorchServe waits for the model to startup/initialize, default: 120.",
        "integer",
        "120",
    ),
    Parameter("initial_workers", "Number of initial workers, default: 0.", "integer", "0"),
    Parameter(
        "synchronous",
        "Decides whether creation of worker synchronous or not, default: true.",
        "boolean",
        "true",
    ),
)
SCALE: Final = (
    Parameter("min_worker", "Minimum number of worker processes.", "integer", "1"),
    Parameter(
        "max_worker",
        "Maximum number of worker processes: between the two it follows the load. It defaults to the minimum.",
        "integer",
        "1",
    ),
    Parameter("number_gpu", "Accepted and without meaning here.", "integer", "0"),
    Parameter(
        "synchronous", "Decides whether the call is synchronous or not, default: false.", "boolean", "false"
    ),
    Parameter("timeout", _WAIT, "integer", "-1"),
)
REGISTER_WORKFLOW: Final = (
    Parameter("url", "Workflow archive: a name in the workflow store, or a URL.", required=True),
    Parameter("workflow_name", "Name of workflow. This value overrides workflowName in MANIFEST.json."),
    *(each for each in REGISTER if each.name in ("response_timeout", "startup_timeout")),
)
CUSTOMIZED: Final = Parameter(
    "customized", "Ask a worker for the model's own description, too, default: false.", "boolean", "false"
)
