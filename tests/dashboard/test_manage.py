"""Somebody changes what is served, in dialogs that say what will happen."""

import json

import numpy as np
import pytest

from dragoman.config import ManagementSettings, ServerSettings, Settings
from dragoman.testing import TestClient
from tests.browser import picture
from tests.dashboard.conftest import fill_store
from tests.dashboard.models import Spread


def load(page, source, name="half", version="", default=True):
    """Through the dialog that is open."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Source").fill(source)
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Version").fill(version)
    dialog.get_by_role("checkbox").set_checked(default)
    dialog.get_by_role("button", name="Load").click()


def state(client, name="half"):
    return client.get(f"/management/models/{name}").json()


def test_a_model_is_loaded_tried_and_unloaded(visit, managed):
    page = visit(managed)
    page.get_by_role("button", name="Load a model").click()
    picture(page, "dialog-load")
    load(page, "by2.py")
    page.get_by_role("link", name="half").click()
    page.get_by_label("x (FP32 [?, 4])").fill("2 4 6 8")
    page.get_by_role("button", name="Ask the model").click()
    row = page.get_by_role("region", name="output y").locator("td")
    row.first.wait_for()
    assert row.all_inner_texts() == ["1", "2", "3", "4"]
    page.get_by_role("button", name="Unload", exact=True).click()
    dialog = page.get_by_role("dialog")
    assert "Everything it has accepted is answered first" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert state(managed)["versions"]
    page.get_by_role("button", name="Unload", exact=True).click()
    dialog.get_by_role("button", name="Unload").click()
    page.get_by_text("There is no model half on this server.").wait_for()
    assert managed.get("/management/models/half").status == 404


@pytest.mark.parametrize("source", ["missing.py", "http://127.0.0.1:9/model.onnx", "../by2.py"])
def test_a_load_that_fails_is_explained_in_the_servers_words(visit, managed, source):
    body = {"source": source, "name": "half"}
    words = managed.post("/management/models", body).json()["error"]
    page = visit(managed)
    page.get_by_role("button", name="Load a model").click()
    load(page, source)
    alert = page.get_by_role("dialog").get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == words
    page.complaints.clear()


def test_a_canary_gets_its_share_a_shadow_its_report_and_a_rollback_undoes(visit, managed):
    for version, default in (("1", True), ("2", False)):
        order = {"source": f"by{int(version) + 1}.py", "name": "half", "version": version, "default": default}
        assert managed.post("/management/models", order).status == 200
    page = visit(managed, "#/models/half/versions")
    page.get_by_role("button", name="Traffic").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Version 1, %").fill("90")
    dialog.get_by_label("Version 2, %").fill("20")
    assert "110 % in all: they have to be 100 together" in dialog.inner_text()
    dialog.get_by_role("button", name="Share it out").click()
    dialog.get_by_role("alert").wait_for()
    assert state(managed)["traffic"]["shares"] == {}, "what the server refuses changes nothing"
    dialog.get_by_label("Version 2, %").fill("10")
    dialog.get_by_role("button", name="Share it out").click()
    page.get_by_text("version 1: 90 % · version 2: 10 %").wait_for()
    assert state(managed)["traffic"]["shares"] == {"1": 90, "2": 10}
    picture(page, "versions-canary", full_page=True)

    page.get_by_role("button", name="Traffic").click()
    dialog.get_by_label("Version 1, %").fill("100")
    dialog.get_by_label("Version 2, %").fill("0")
    dialog.get_by_label("Shadow").select_option("2")
    dialog.get_by_role("button", name="Share it out").click()
    page.get_by_text("version 2 is the shadow").wait_for()
    for _ in range(3):
        managed.infer("half", {"x": np.ones((1, 4), np.float32)})
    page.get_by_text("3 (100 %)").wait_for()  # that many answers would have been different
    picture(page, "versions-shadow", full_page=True)

    page.get_by_role("button", name="Make default version 2").click()
    dialog.get_by_role("button", name="Make it the default").click()
    page.get_by_role("button", name="Make default version 1").wait_for()
    assert state(managed)["default"] == "2"
    page.get_by_role("button", name="Roll back").click()
    assert "Version 2 answers now." in dialog.inner_text()
    dialog.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Make default version 2").wait_for()
    assert state(managed)["default"] == "1"
    page.get_by_role("button", name="Unload version 2").click()
    dialog.get_by_role("button", name="Unload").click()
    page.locator("tbody tr").nth(1).wait_for(state="detached")
    assert [each["version"] for each in state(managed)["versions"]] == ["1"]
    page.complaints.clear()  # the shares that were refused


def test_a_model_is_scaled(visit, managed):
    managed.post("/management/models", {"source": "by2.py", "name": "half"})
    page = visit(managed, "#/models/half/versions")
    page.get_by_role("button", name="Scale version").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("At least").fill("-1")
    dialog.get_by_role("button", name="Scale").click()
    dialog.get_by_text("instances are from 0 on, got -1").wait_for()
    dialog.get_by_label("At least").fill("2")
    dialog.get_by_label("At most").fill("3")
    dialog.get_by_role("button", name="Scale").click()
    page.get_by_role("cell", name="2 (2 to 3)").wait_for()
    assert state(managed)["versions"][0]["instances"] == {"now": 2, "min": 2, "max": 3}
    page.complaints.clear()  # the numbers that were refused


def test_without_the_key_the_models_are_shown_and_nothing_can_be_changed(visit, tmp_path):
    management = ManagementSettings(store=str(fill_store(tmp_path / "store")), key="s3cret")
    with TestClient(Spread, settings=Settings(management=management)) as client:
        page = visit(client, "#/models/Spread")
        page.get_by_role("button", name="Ask the model").wait_for()
        assert page.get_by_role("button", name="Roll back").count() == 0
        page.get_by_role("button", name="Enter the key to manage it").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Key").fill("wrong")
        dialog.get_by_role("button", name="Use it").click()
        dialog.wait_for(state="detached")
        page.get_by_role("button", name="Enter the key to manage it").click()
        picture(page, "dialog-key")
        dialog.get_by_label("Key").fill("s3cret")
        dialog.get_by_role("button", name="Use it").click()
        page.get_by_role("button", name="Roll back").wait_for()
        kept = page.evaluate(
            "[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"
        )
        assert json.loads(json.loads(kept[0])["dragoman-keys"]) == {"Authorization": "s3cret"}
        assert kept[1:] == ["{}", ""]
        page.complaints.clear()  # what was refused


def test_where_management_is_off_there_is_nothing_to_press(visit):
    with TestClient(Spread, settings=Settings(management=ManagementSettings(enabled="off"))) as client:
        page = visit(client)
        page.get_by_role("link", name="Spread").click()
        page.get_by_role("button", name="Ask the model").wait_for()
        assert page.get_by_role("button", name="Unload").count() == 0
        page.get_by_role("link", name="Models").first.click()
        page.locator(".card").wait_for()
        assert page.get_by_role("button", name="Load a model").count() == 0


def test_where_even_the_numbers_are_locked_the_page_asks_for_the_key(visit, new_page):
    settings = Settings(
        server=ServerSettings(restrict="statistics,metadata,model-repository,management:admin=s3cret")
    )
    with TestClient(Spread, settings=settings) as client:
        page = new_page()
        page.goto(client.url)
        dialog = page.get_by_role("dialog")
        assert "expecting header 'admin'" in dialog.inner_text()
        dialog.get_by_label("Key").fill("s3cret")
        dialog.get_by_role("button", name="Use it").click()
        page.get_by_role("link", name="Spread").click()
        page.get_by_label("values (FP64 [?, ?])").wait_for()
        page.complaints.clear()  # what was refused before


def test_a_page_of_another_site_changes_nothing(new_page, managed):
    """Not with a request that needs no permission of the server (a "simple" one), and not with any other."""
    managed.post("/management/models", {"source": "by2.py", "name": "half"})
    page = new_page(complains=True)  # of what the browser and the server refuse
    elsewhere = managed.url.replace("127.0.0.1", "localhost")  # to a browser another site
    page.goto(f"{elsewhere}/livez")
    attempt = """async (url) => {
      const tries = [
        [`${url}/management/models/half/rollback`, { method: "POST", mode: "no-cors", body: "" }],
        [`${url}/management/models`, { method: "POST", mode: "no-cors", body: '{"source":"by3.py","name":"bad"}' }],
        [`${url}/v2/repository/models/half/unload`, { method: "POST", mode: "no-cors", body: "{}" }],
        [`${url}/management/models/half`, { method: "DELETE" }],
        [`${url}/management/models/half`, { method: "GET" }],
      ];
      const outcome = ([to, options]) => fetch(to, options).then((a) => `${a.type} ${a.status}`, () => "refused");
      return Promise.all(tries.map(outcome));
    }"""
    outcomes = page.evaluate(attempt, managed.url)
    assert outcomes == ["opaque 0", "opaque 0", "opaque 0", "refused", "refused"]
    assert [model["name"] for model in managed.get("/management/models").json()["models"]] == [
        "Spread",
        "half",
    ]
