"""The published interface: what is committed is what is served, and the page about it works offline."""

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect, sync_playwright

from ops import openapi
from tests.support.service import RunningService
from tests.support.web import ask

CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 60_000


def test_the_committed_interface_is_current() -> None:
    """Callers read the file, and reviewers see its changes: run `make openapi`."""
    assert json.loads(openapi.COMMITTED.read_text(encoding="utf-8")) == openapi.current()


def test_the_interface_is_served_as_it_is_committed(service: RunningService) -> None:
    """Without a token."""
    answer = ask(service, "/api/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == openapi.current()


def test_every_operation_has_a_name_and_says_what_can_go_wrong() -> None:
    """Names become the methods of generated clients."""
    operations = [each for path in openapi.current()["paths"].values() for each in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(operations) == 34
    for operation in operations:
        assert operation["summary"]
        assert "default" in operation["responses"]


def test_the_marks_of_a_stale_balance_are_published() -> None:
    """Whoever does not know them takes what was known last for what is there now."""
    balance = openapi.current()["paths"]["/api/accounts/{accountId}/balance"]["get"]["responses"]
    for status in ("200", "404"):
        assert balance[status]["headers"].keys() == {"Balance-Stale", "Balance-As-Of"}


class Sources(HTMLParser):
    """Where a page takes its parts from, and what scripts stand in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            assert given.get("src"), "a script inside the page is refused by its own policy"
        self.found += [value for name in ("src", "href") if (value := given.get(name))]


def test_all_parts_of_the_page_are_served_from_here(service: RunningService) -> None:
    """And its policy has browsers refuse everything else."""
    page = ask(service, "/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    sources = Sources()
    sources.feed(page.body.decode())
    parts = [source for source in sources.found if not source.startswith("data:")]
    assert len(parts) == 3
    for part in parts:
        assert part.startswith("docs/"), part
        assert ask(service, f"/api/{part}").status == 200
    assert ask(service, "/api/docs/nothing.js").status == 404
    assert ask(service, "/api/docs/..%2Fopenapi.py").status == 404


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    """A page of headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def test_the_page_makes_a_call(service: RunningService, browser_page: Page) -> None:
    """A person signs in with a token, opens an account and sees the answer; nobody else is asked anything."""
    elsewhere: list[str] = []
    complaints: list[str] = []

    def watch(route: Route, request: Request) -> None:
        if request.url.startswith((f"http://{service.http}/", "data:", "blob:")):
            route.continue_()
        else:
            elsewhere.append(request.url)
            route.abort()

    page = browser_page
    page.route("**/*", watch)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://{service.http}/api/docs")
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.locator(".auth-container input").fill(service.token)
    page.locator(".auth-container").get_by_role("button", name="Apply credentials").click()
    page.locator(".auth-container").get_by_role("button", name="Close").click()
    operation = page.locator("#operations-default-openAccount")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("input[placeholder=accountId]").fill("from-the-page")
    operation.locator("textarea").fill('{"initialBalance": 7}')
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table td.response-col_status").last).to_contain_text(
        "201", timeout=PATIENCE_MS
    )
    body: Any = ask(service, "/api/accounts/from-the-page/balance", service.token).body
    assert body["balance"] == 7
    assert (elsewhere, complaints) == ([], [])
