"""A program's server describes itself, and shows that where it is asked to."""

import re

import requests

from tests.program import Program


def test_the_document_has_the_routes_of_both_protocols():
    with Program("predictor_021.py") as program:
        document = requests.get(f"{program.url}/openapi.json", timeout=30).json()
        assert document["openapi"] == "3.1.0"
        assert "post" in document["paths"]["/v1/models/{model_name}:predict"]
        assert "post" in document["paths"]["/v2/models/{model_name}/versions/{model_version}/infer"]
        for path, operations in document["paths"].items():
            for operation in operations.values():
                named = [each["name"] for each in operation["parameters"]]
                assert named == re.findall(r"\{(\w+)\}", path)
                assert operation["summary"]
        assert requests.get(f"{program.url}/docs", timeout=30).status_code == 404


def test_the_page_is_there_where_it_is_wanted_and_brings_its_scripts():
    with Program("zoo.py", "--enable_docs_url", "true") as program:
        page = requests.get(f"{program.url}/docs", timeout=30)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for script in re.findall(r'(?:src|href)="(?:\./)?([^"]+)"', page.text):
            assert requests.get(f"{program.url}/{script}", timeout=30).status_code == 200
        assert requests.get(f"{program.url}/openapi.json", timeout=30).json()["paths"]
