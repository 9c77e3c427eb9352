"""``/docs`` and ``/redoc`` in a real browser that can reach nothing but the server, and what they are made of."""

import re
from pathlib import Path

import pytest

from dragoman.testing import TestClient
from tests.browser import chromium, new_page, picture  # noqa: F401 - fixtures

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module")
def client():
    with TestClient(str(APPS / "lesson.py"), str(APPS / "functions.py")) as client:
        yield client


@pytest.fixture
def page(new_page, client):  # noqa: F811
    """A page for which the rest of the world is not there; asking for it is noted."""
    page = new_page()
    page.elsewhere = []

    def route(route):
        if route.request.url.startswith(client.url) or route.request.url.startswith(("data:", "blob:")):
            route.continue_()
        else:
            page.elsewhere.append(route.request.url)
            route.abort()

    page.route("**/*", route)
    return page


@pytest.mark.parametrize("path", ["/docs", "/services/lesson/docs"])
def test_swagger_ui_shows_the_endpoints_and_tries_them_out(client, page, path):
    page.goto(client.url + path)
    page.get_by_role("heading", name="TagIfAI - Made With ML").wait_for()
    block = page.locator("#operations-Prediction-predict_post")
    block.locator("button.opblock-summary-control").click()
    assert "Transfer learning with transformers" in block.locator("textarea").input_value()
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response-col_description")
    answer.get_by_text("predicted_tag").first.wait_for()
    assert page.elsewhere == []


def test_redoc_shows_them_too(client, page):
    page.goto(client.url + "/redoc")
    page.get_by_role("heading", name=re.compile("TagIfAI - Made With ML")).wait_for()
    page.get_by_text("Predict tags for a list of texts.").first.wait_for()
    picture(page, "redoc")


def test_a_service_under_a_prefix_has_pages_there(client, page):
    page.goto(client.url + "/tools/docs")
    page.get_by_role("heading", name="Functions").first.wait_for()
    page.locator("#operations-Prediction-triple_post").wait_for()


def test_a_page_allows_itself_nothing_from_elsewhere(client):
    for path in ("/docs", "/redoc"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert not re.search(rb"https?://", answer.body)


def test_a_service_may_have_none(tmp_path):
    file = tmp_path / "quiet.py"
    file.write_text(
        "import dragoman\n@dragoman.service(docs=False)\nclass Quiet:\n"
        "    def predict(self, x: int) -> int:\n        return x\n"
    )
    with TestClient(str(file)) as client:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status == client.get(f"/services/quiet{path}").status == 404
        assert client.post("/predict", {"x": 1}).status == 200


def test_there_are_no_other_assets(client):
    for name in ("nothing.js", "..%2f..%2f__init__.py"):
        assert client.get(f"/services/.assets/{name}").status == 404
