"""The page as a whole: what it weighs, what it shows, how it looks after itself, what it never runs."""

import json
import re
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from dragoman.testing import TestClient
from tests.browser import ARTEFACTS, picture
from tests.dashboard.models import HOSTILE, Spread

VIEWS = {
    "models": "",
    "try": "#/models/Everything",
    "try-handler": "#/models/words",
    "live": "#/models/Spread/live",
    "versions": "#/models/Spread/versions",
    "crashes": "#/models/Dies/crashes",
    "missing": "#/models/nobody",
}


@pytest.fixture(scope="module")
def busy(server):
    """The server, after some traffic and a death."""
    for rows in (1, 2, 3, 8):
        server.infer("Spread", {"values": np.ones((rows, 4))})
    with suppress(RuntimeError):
        server.infer("Spread", {"values": np.ones(4)})
    with suppress(RuntimeError):
        server.infer("Dies", {"x": np.array([-1], np.float32)})
    return server


def test_the_first_visit_weighs_little_and_asks_little(new_page):
    """How long it took is kept for people (artefacts/first-visit.json); no machine is fast enough to promise it."""
    with TestClient(Spread) as client:
        page, loaded, asked = new_page(), [], []
        page.on("requestfinished", lambda request: loaded.append(request))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(client.url)
        page.locator(".card").wait_for()
        weight = sum(request.sizes()["responseBodySize"] for request in loaded)
        timing = """() => Object.fromEntries([...performance.getEntriesByType("paint"),
            ...performance.getEntriesByType("navigation")].map((each) => [each.name.replace(/^http.*/, "loaded"),
            each.startTime || each.loadEventEnd]))"""
        measured = {"bytes": weight, "requests": len(asked), "milliseconds": page.evaluate(timing)}
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        (ARTEFACTS / "first-visit.json").write_text(json.dumps(measured, indent=2))
        assert 5_000 < weight < 300_000
        assert len(asked) <= 40
        assert all(url.startswith(client.url) for url in asked), "nothing comes from elsewhere"


def test_a_second_visit_asks_only_whether_anything_has_changed(new_page):
    with TestClient(Spread) as client:
        page = new_page()
        page.goto(client.url)
        page.locator(".card").wait_for()
        statuses = {}
        page.on("response", lambda answer: statuses.__setitem__(answer.url, answer))
        page.reload()
        page.locator(".card").wait_for()
        style = statuses[f"{client.url}/page/style.css"]
        assert style.request.sizes()["responseBodySize"] == 0


def test_the_models_are_there_with_versions_states_and_numbers(visit, busy):
    page = visit(busy)
    cards = page.locator(".card")
    cards.first.wait_for()
    assert cards.count() == 8
    refused = cards.filter(has_text="Refuses").inner_text()
    assert "failed" in refused
    assert HOSTILE in refused, "the reason, in the server's words"
    assert "1 crash report" in cards.filter(has_text="Dies").inner_text()
    assert "ready" in cards.filter(has_text="Spread").inner_text()
    tiles = page.get_by_role("region", name="The server now").inner_text()
    answers = sum(
        n for m in busy.get("/stats").json()["models"] for c in m["answers"].values() for n in c.values()
    )
    assert f"{answers} so far" in tiles
    assert page.locator("#state").inner_text() == "not ready", "a model of the start-up list has failed"


def test_live_charts_show_what_happens(visit, server):
    page = visit(server, "#/models/Spread/live")
    for _ in range(20):
        server.infer("Spread", {"values": np.ones((4, 2))})
    expect(page.locator(".legend b").first).to_have_text(re.compile("[1-9].*/s"))
    for title in ("Requests", "Latency, from arrival to answer", "Requests waiting and running"):
        label = page.get_by_label(f"{title}, now:").get_attribute("aria-label")
        assert "–" not in label.partition(":")[2] or title.startswith("Latency")
    assert "3–4" in page.locator(".columns").inner_text().replace("\n", " ")
    chart = page.get_by_label("Requests, now:")
    expect(page.locator(".plot path.line").first).to_have_attribute("d", re.compile("L"))
    chart.focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_label("Requests, 2 s ago").or_(page.get_by_label("Requests, 3 s ago")).count() >= 1
    picture(page, "live", full_page=True)


def test_a_crash_is_told_with_its_cause_and_last_lines(visit, busy):
    page = visit(busy, "#/models/Dies/crashes")
    crash = page.locator(".crash")
    crash.wait_for()
    words = crash.inner_text()
    assert "the process ended with exit code 3" in words
    assert f"last words {HOSTILE}" in words
    picture(page, "crashes", full_page=True)


def test_hostile_texts_stay_texts(visit, busy):
    """Names of tensors, answers, labels, reasons, last lines: none of it is ever more than text."""
    page = visit(busy)
    page.get_by_text(HOSTILE).first.wait_for()
    page.goto(f"{busy.url}/#/models/Hostile")
    page.get_by_role("textbox").fill("x")
    page.get_by_role("button", name="Ask the model").click()
    page.locator(".times").wait_for()
    answer = page.locator(".answer")
    assert answer.locator("pre").inner_text() == HOSTILE
    assert answer.locator("td").all_inner_texts() == [HOSTILE, "<b>"]
    page.goto(f"{busy.url}/#/models/labelled")
    page.get_by_role("button", name="Ask the model").wait_for()
    page.get_by_label("x (FP32 [?, 3])").fill("1 1 9")
    page.get_by_role("button", name="Ask the model").click()
    page.get_by_text(HOSTILE).wait_for()
    page.goto(f"{busy.url}/#/models/words")
    page.get_by_role("radio", name="Text").check()
    page.get_by_role("textbox", name="Body").fill("markup")
    page.get_by_role("button", name="Ask the model").click()
    page.get_by_text('<img src=x onerror="window.hacked=1">').wait_for()
    page.goto(f"{busy.url}/#/models/Dies/crashes")
    page.locator(".crash").wait_for()
    page.goto(f"{busy.url}/#/models/{HOSTILE.replace('/', '%2F')}")
    page.get_by_text(f"There is no model {HOSTILE} on this server.").wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0
    assert page.locator("main script").count() == 0


def test_the_page_runs_nothing_that_is_not_its_own(visit, server):
    page = visit(server)
    tried = page.evaluate(
        """() => {
          const outcome = (work) => { try { work(); return "ran"; } catch (error) { return error.name; } };
          const script = document.createElement("script");
          return [
            outcome(() => { document.body.innerHTML = "<b>x</b>"; }),
            outcome(() => { script.textContent = "window.hacked = 1"; document.body.append(script); }),
            outcome(() => { document.body.setAttribute("onclick", "window.hacked = 1"); document.body.click(); }),
            typeof window.hacked,
          ];
        }"""
    )
    assert tried[0] == "TypeError"
    assert tried[3] == "undefined"
    page.complaints.clear()  # the browser tells what it has refused


def test_it_asks_every_two_seconds_rests_while_hidden_and_waits_longer_while_nobody_answers(new_page):
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page, asked = new_page(), []
    page.on("request", lambda request: request.url.endswith("/stats") and asked.append(request))
    page.clock.install()
    answered = partial(page.expect_response, "**/stats")
    with TestClient(Spread) as client:
        port = client.app.port
        with answered():
            page.goto(client.url)
        page.locator(".card").wait_for()
        with answered():
            page.clock.run_for(2000)
        page.evaluate(hide, True)
        before = len(asked)
        page.clock.run_for(60_000)
        assert len(asked) == before
        with answered():
            page.evaluate(hide, False)
        page.locator("#state[data-state=good]").wait_for()
        card = page.locator(".card a")
        card.focus()
        with answered():
            page.clock.run_for(2000)
        assert card.evaluate("node => node === document.activeElement"), "what has the focus keeps it"
    with page.expect_event("requestfailed"):
        page.clock.run_for(2000)
    page.get_by_text("the next try is in 4 seconds").wait_for()
    with page.expect_event("requestfailed"):
        page.clock.run_for(4000)
    page.get_by_text("the next try is in 8 seconds").wait_for()
    assert page.locator("#state").inner_text() == "no answer"
    picture(page, "no-answer")
    with TestClient(Spread, port=port):
        with answered():
            page.clock.run_for(8000)
        page.locator("#state[data-state=good]").wait_for()
        assert page.locator("#trouble").is_hidden()
    page.complaints.clear()  # the connections that were refused


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view_and_theme(visit, busy, view, scheme):
    page = visit(busy, VIEWS[view], color_scheme=scheme)
    settle(page, view)
    found = Axe().run(page)
    picture(page, f"view-{view}-{scheme}", full_page=True)
    assert found.violations_count == 0, found.generate_report()


def settle(page, view):
    sign = {
        "models": ".card",
        "live": ".chart",
        "versions": "tbody tr",
        "crashes": ".crash",
        "missing": ".banner:not([hidden])",
    }
    page.locator(sign.get(view, "form")).first.wait_for()
    if view in ("try", "try-handler"):
        page.get_by_role("radio", name="Text").first.check()
        page.get_by_role("textbox").last.fill("some words")
        page.get_by_role("button", name="Ask the model").click()
        page.locator(".times").wait_for()


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_a_small_telephone(visit, busy, view):
    page = visit(busy, VIEWS[view], viewport={"width": 360, "height": 740})
    settle(page, view)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    picture(page, f"small-{view}", full_page=True)


def test_everything_can_be_reached_without_a_mouse(visit, busy):
    page = visit(busy)
    page.locator(".card").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Load a model"
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.labels[0].textContent") == "Source"
    assert Axe().run(page).violations_count == 0
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Load a model", "back to where it began"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Dies").wait_for()
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.title() == "Dies · Dragoman"
    assert page.locator("#announcer").inner_text() == "Dies · Dragoman"


def test_the_theme_is_the_systems_until_somebody_chooses(visit, server):
    page = visit(server, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Theme").click()
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    assert page.evaluate(paper) == light
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate(paper) == dark
