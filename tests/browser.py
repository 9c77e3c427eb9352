"""A real browser for tests: Debian's headless Chromium, driven by Playwright. Whoever wants it imports the fixtures.

``make test`` installs Chromium where it may. Where there is none the tests are skipped, but not in CI.
"""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

#: Screenshots and measurements, for people; not kept by git.
ARTEFACTS = Path(os.environ.get("ARTEFACTS") or Path(__file__).parent.parent / "artefacts")
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Of a machine that is busy with other things: no test waits this long for what it checks.
PATIENCE = 20_000  # milliseconds
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


def find_chromium():
    """Chromium's path: what ``CHROMIUM`` says, or what is installed; ``None`` without one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def chromium():
    """The browser, started once for each module: while it runs, Playwright has the thread's event loop."""
    path = find_chromium()
    if path is None:
        tell = pytest.fail if os.environ.get("CI") else pytest.skip
        tell("there is no Chromium: apt install chromium, or set CHROMIUM to the path of one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Complaints(list):
    """What pages complain of. Who has cleared them wanted answers that refuse: more of these may still be told of."""

    def __init__(self):
        super().__init__()
        self._refused = False

    def clear(self):
        self._refused = True
        super().clear()

    def hear(self, message):
        """A line of the console. A browser looks for an icon by itself, at some time of its own."""
        failed = message.text.startswith("Failed to load resource")
        # A page that is still open asks a server that has stopped.
        refusal = failed and (self._refused or "ERR_CONNECTION_REFUSED" in message.text)
        url = message.location["url"]
        if message.type in ("error", "warning") and not refusal and not url.endswith("/favicon.ico"):
            self.append(f"{message.text} ({url})")


@pytest.fixture
def new_page(chromium):
    """Makes pages, each with cookies and storage of its own. At the end none of them may have complained.

    A test that wants a complaint clears ``page.complaints``; one whose page is refused a lot says ``complains=True``.
    """
    contexts, complaints = [], Complaints()

    def make(*, complains=False, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        if not complains:
            page.on("console", complaints.hear)
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.complaints = complaints
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints, complaints


def picture(page, name, **options):
    """Keep a screenshot for people to look at."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", **options)
