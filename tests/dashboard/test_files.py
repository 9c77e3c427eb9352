"""The page's files over HTTP, without a browser."""

import gzip
import re

import pytest

from dragoman.dashboard.files import STATIC, TYPES, read_files
from dragoman.dashboard.http import POLICY
from dragoman.testing import TestClient
from tests.dashboard.models import Spread

HTML = {"Accept": "text/html,application/xhtml+xml"}
SOURCES = sorted(STATIC.iterdir())


@pytest.fixture(scope="module")
def client():
    with TestClient(Spread) as client:
        yield client


def test_a_browser_gets_the_page_and_others_a_sign_of_life(client):
    page = client.request("GET", "/", headers=HTML)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>Dragoman</title>" in page.body
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        alive = client.request("GET", "/", headers=headers)
        assert (alive.body, alive.headers["content-type"]) == (b'{"status":"alive"}', "application/json")
        assert alive.headers["vary"] == "Accept"
    assert client.request("HEAD", "/", headers=HTML).status == 200


def test_nothing_runs_but_the_pages_own_files(client):
    answer = client.request("GET", "/", headers=HTML)
    assert answer.headers["content-security-policy"] == POLICY
    assert "default-src 'self'" in POLICY
    assert "unsafe" not in POLICY
    assert (answer.headers["x-content-type-options"], answer.headers["referrer-policy"]) == (
        "nosniff",
        "no-referrer",
    )


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_file_is_sent_again_only_when_it_has_changed(client, coding):
    headers = {"Accept-Encoding": coding} if coding else {}
    for name, file in read_files().items():
        answer = client.request("GET", f"/page/{name}", headers=headers)
        assert (answer.status, answer.headers.get("content-encoding", "")) == (200, coding)
        assert (gzip.decompress(answer.body) if coding else answer.body) == file.body
        assert answer.headers["vary"] == "Accept-Encoding"
        tag = answer.headers["etag"]
        assert tag == (file.small_tag if coding else file.tag)
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            same = client.request("GET", f"/page/{name}", headers=headers | {"If-None-Match": given})
            assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
        other = client.request("GET", f"/page/{name}", headers=headers | {"If-None-Match": '"other"'})
        assert other.status == 200


@pytest.mark.parametrize(
    "path", ["/page/none.js", "/page/http.py", "/page/..%2Fhttp.py", "/page/%2Fetc%2Fpasswd", "/page/"]
)
def test_what_is_no_file_of_the_page_is_not_found(client, path):
    assert client.get(path).status == 404


def test_the_files_are_known_kinds_and_each_is_used():
    texts = {path.name: path.read_text() for path in SOURCES}
    assert {path.suffix for path in SOURCES} == set(TYPES)
    everything = "".join(texts.values())
    for name in texts:
        assert name == "index.html" or f"/{name}" in everything, f"nothing asks for {name}"


def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup():
    for path in SOURCES:
        text = path.read_text()
        for link in re.findall(r"https?://[^\s\"'`]*", text):
            assert link == "http://www.w3.org/2000/svg", f"{path.name} names {link}"
        sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|style="
        assert not re.search(sinks, text), path.name


def test_the_pages_modules_can_be_read_in_one_sitting():
    for path in SOURCES:
        lines = path.read_text().splitlines()
        assert len(lines) < 320, path.name
        if path.suffix == ".js":
            assert lines[0].startswith("// "), f"{path.name} begins with what it is for"
