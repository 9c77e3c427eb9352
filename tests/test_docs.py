"""What isn't documented isn't finished."""

import asyncio
import re
from pathlib import Path

import pytest

from dragoman.app import App, grpc_routes
from dragoman.config import AuthSettings, Settings
from dragoman.errors import Code
from dragoman.transport.auth import ALLOWED, OPERATIONS, ROLES
from dragoman.transport.grpc.status import STATUS as GRPC_STATUS
from dragoman.transport.status import STATUS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_every_route_is_documented_and_every_documented_route_exists():
    app = App(Settings(), [])

    async def build():
        app.build()

    asyncio.run(build())
    routes = {
        (method, route.pattern)
        for route in app.router.routes()
        for method in (route.methods if len(route.methods) < 3 else ("ANY",))
    }
    documented = set()
    for line in (ROOT / "docs" / "protocols.md").read_text().splitlines():
        if match := re.match(r"\| (GET|POST|PUT|DELETE|OPTIONS|ANY) \| (.*?) \|", line):
            documented |= {(match[1], path) for path in re.findall(r"`([^`]+)`", match[2])}
    assert routes == documented


def test_every_grpc_method_is_documented_and_every_documented_one_exists():
    app = App(Settings(), [])

    async def build():
        app.build()
        return {(route.service, route.method) for route in grpc_routes(app)}

    documented = set()
    for line in (ROOT / "docs" / "protocols.md").read_text().splitlines():
        if match := re.match(r"\| `(\S+\.\w+)` \| (.*?) \|", line):
            documented |= {(match[1], method) for method in re.findall(r"`(\w+)`", match[2])}
    assert asyncio.run(build()) == documented


def test_every_operation_and_every_grpc_status_is_documented():
    page = (ROOT / "docs" / "grpc.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| ([A-Z_]+) \|$", page, re.MULTILINE)) == {
        code.value: status.name for code, status in GRPC_STATUS.items()
    }
    section = page.partition("## Who may")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == set(OPERATIONS)


def test_every_code_and_its_status_are_documented():
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (\d+|–) \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    )
    assert set(rows) == {code.value for code in Code}
    assert all(rows[code.value] in ("–", str(STATUS[code])) for code in Code)


def test_every_operation_and_who_may_is_documented():
    page = (ROOT / "docs" / "security.md").read_text()
    table = re.findall(r"^\| `([a-z-]+)` \| (yes|) ?\|" + r" (yes|) ?\|" * 4 + "$", page, re.MULTILINE)
    words = ("", *ROLES)
    told = {name: {word for word, yes in zip(words, cells, strict=True) if yes} for name, *cells in table}
    assert told == {name: set(words) if roles is None else set(roles) for name, roles in ALLOWED.items()}


def test_every_route_of_users_and_keys_is_documented(tmp_path):
    app = App(Settings(auth=AuthSettings(store=str(tmp_path / "accounts.db"))), [])

    async def build():
        app.build()
        await app.access.stop()

    asyncio.run(build())
    operations = ("login", "identity", "accounts")
    routes = {
        (method, route.pattern)
        for route in app.router._routes
        for method in route.methods
        if route.operation in operations
    }
    page = (ROOT / "docs" / "security.md").read_text()
    assert routes == set(re.findall(r"^\| `(GET|POST|PATCH|DELETE) (/\S+)` \|", page, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
