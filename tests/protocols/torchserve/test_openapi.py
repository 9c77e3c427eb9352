"""The description of the API is that of the routes."""

from dragoman.protocols.torchserve import openapi

ALWAYS = {
    ("/", "options", "apiDescription"),
    ("/ping", "get", "ping"),
    ("/predictions/{model_name}", "post", "predictions"),
    ("/predictions/{model_name}/{model_version}", "post", "version_predictions"),
    ("/api-description", "get", "api-description"),
}
KSERVE = {
    ("/v1/models/{model_name}:predict", "post", "predictions"),
    ("/v2/models/{model_name}/infer", "post", "predictions"),
}


def operations(document: openapi.Document) -> set[tuple[str, str, str]]:
    return {
        (path, method, operation["operationId"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_server_describes_what_it_serves() -> None:
    # row: own-paths
    assert operations(openapi.describe_server(raw_paths=True)) == ALWAYS | KSERVE
    assert operations(openapi.describe_server(raw_paths=False)) == ALWAYS


def test_the_form_is_torchserves() -> None:
    document = openapi.describe_server(raw_paths=True)
    assert list(document) == ["openapi", "info", "paths"]
    assert document["openapi"] == "3.0.1"
    assert document["info"]["title"] == "TorchServe APIs"
    predict = document["paths"]["/predictions/{model_name}/{model_version}"]["post"]
    assert list(predict) == ["description", "operationId", "parameters", "requestBody", "responses"]
    assert [parameter["name"] for parameter in predict["parameters"]] == ["model_name", "model_version"]
    assert list(predict["responses"]) == ["200", "404", "500", "503"]
    error = predict["responses"]["503"]["content"]["application/json"]["schema"]
    assert error["required"] == ["code", "type", "message"]
    assert error["properties"]["code"] == {"type": "integer", "description": "Error code."}


def test_a_model_is_described_under_paths_that_lead_to_it() -> None:
    # row: model-paths
    document = openapi.describe_model("cat", raw_paths=True)
    assert document["info"] == {"title": "RESTful API for: cat", "version": "1.0.0"}
    assert list(document["paths"]) == ["/predictions/cat", "/v1/models/cat:predict", "/v2/models/cat/infer"]
    assert list(openapi.describe_model("cat", raw_paths=False)["paths"]) == ["/predictions/cat"]


def test_the_metrics_port_describes_the_text_that_it_writes() -> None:
    operation = openapi.metrics_paths("text/plain; version=0.0.4")["/metrics"]["get"]
    assert list(operation) == ["description", "operationId", "parameters", "responses"]
    assert [(one["in"], one["name"], one["required"]) for one in operation["parameters"]] == [
        ("query", "name[]", False)
    ]
    schema = operation["responses"]["200"]["content"]["text/plain; version=0.0.4"]["schema"]
    assert schema["required"] == ["# HELP", "# TYPE", "metric"]
    assert list(operation["responses"]) == ["200", "500"]
