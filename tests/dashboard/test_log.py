"""The view of kept predictions, in a browser: what was asked is there, and can be searched."""

import time

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from dragoman.config import MonitoringSettings, Settings
from dragoman.testing import TestClient
from tests.browser import picture
from tests.dashboard.models import HOSTILE, Spread

LIMIT = 60.0


def wait_for(client, count):
    deadline = time.monotonic() + LIMIT
    while client.app.engine.stats.observed["kept"] < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_predictions_that_are_kept_are_shown_and_searched(visit, tmp_path):
    settings = Settings(monitoring=MonitoringSettings(store=str(tmp_path / "log.db")))
    with TestClient(Spread, settings=settings) as client:
        for number in range(79):
            client.infer("Spread", {"values": np.full((1, 4), number, np.float64)})
        values = {"name": "values", "shape": [1, 1], "datatype": "FP64", "data": [1]}
        client.post("/v2/models/Spread/infer", {"id": HOSTILE, "inputs": [values]})
        wait_for(client, 80)
        page = visit(client)
        page.locator(".card").wait_for()
        page.get_by_role("link", name="Predictions").click()
        rows = page.locator("tbody tr")
        rows.nth(49).wait_for()
        assert rows.count() == 50
        assert HOSTILE in rows.first.inner_text()
        page.get_by_role("button", name="Older ones").click()
        rows.nth(79).wait_for()
        page.get_by_label("Search").fill("[42.0,42.0")
        page.keyboard.press("Enter")
        page.get_by_text("1 shown").wait_for()
        assert '"data":[42,42,42,42]' in rows.inner_text()
        assert Axe().run(page).violations_count == 0
        picture(page, "predictions", full_page=True)
        page.get_by_label("Search").fill("nothing like it")
        page.keyboard.press("Enter")
        page.get_by_text("none found").wait_for()


def test_where_nothing_is_kept_there_is_no_view(visit):
    with TestClient(Spread) as client:
        page = visit(client)
        page.locator(".card").wait_for()
        assert page.get_by_role("link", name="Predictions").count() == 0


def test_a_prediction_says_where_its_time_went(visit):
    with TestClient(Spread) as client:
        page = visit(client, "#/models/Spread")
        page.get_by_role("textbox").first.fill("1 2 3 4")
        page.get_by_role("button", name="Ask the model").click()
        for room in ("transport", "decode", "queue", "execute", "encode"):
            expect(page.locator(".times")).to_contain_text(room)
