"""The page in a real Chromium, without a network: what it draws, what it runs, what it asks for."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.page import Page
from reports.render import render
from tests.reports.hostile import PAYLOADS, with_texts
from tests.reports.report_samples import full_page, tiny_page

playwright = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]

INSPECT = """() => ({
  forbidden: [...document.querySelectorAll(
    "iframe, img, object, embed, base, link, video, audio, math, noscript, template, foreignObject")].map((e) => e.tagName),
  scripts: document.scripts.length,
  styles: document.querySelectorAll("style").length,
  forms: document.forms.length,
  handlers: [...document.querySelectorAll("*")].flatMap((e) => [...e.attributes]).map((a) => a.name)
    .filter((name) => name.startsWith("on") || name === "style" || name === "src"),
  links: [...document.links].map((a) => a.protocol).filter((p) => !["file:", "http:", "https:", "mailto:"].includes(p)),
})"""
TOUCH = """() => {
  for (const element of document.querySelectorAll("body *"))
    for (const kind of ["mouseover", "focus", "toggle", "load", "error"]) element.dispatchEvent(new Event(kind));
}"""
CLEAN = {"forbidden": [], "scripts": 1, "styles": 1, "forms": 1, "handlers": [], "links": []}


class Visit:
    """One look at a page: the tab, and everything the page did that a report never does."""

    def __init__(self, context: Any, file: Path) -> None:
        self.events: list[str] = []
        self.tab = context.new_page()
        self.tab.on("dialog", self._asked)
        self.tab.on("console", lambda message: self.events.append(f"console {message.text}"))
        self.tab.on("pageerror", lambda error: self.events.append(f"error {error}"))
        self.tab.on("request", lambda request: self._requested(request.url, file.as_uri()))
        self.tab.goto(file.as_uri())

    def _asked(self, dialog: Any) -> None:
        self.events.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _requested(self, url: str, own: str) -> None:
        if url.split("#")[0] != own:
            self.events.append(f"request {url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "report.html"
    file.write_text(render(full_page()), encoding="utf-8")
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_page_asks_for_nothing_and_fits_its_width(browser: Any, report: Path, width: int, scheme: str) -> None:
    with browser.new_context(offline=True, viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        visit = Visit(context, report)
        visit.tab.click("#open-all")
        assert visit.tab.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.tab.evaluate(INSPECT) == CLEAN
        visit.tab.emulate_media(media="print")
        assert visit.events == []


def test_payloads_do_nothing(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    with browser.new_context(offline=True) as context:
        file.write_text(render(tiny_page()), encoding="utf-8")
        visit = Visit(context, file)
        for payload in PAYLOADS:
            file.write_text(render(_with_payload(payload)), encoding="utf-8")
            visit.tab.reload()
            visit.tab.evaluate("document.getElementById('open-all').click()")
            visit.tab.evaluate(TOUCH)
            assert visit.tab.evaluate(INSPECT) == CLEAN, payload
            assert visit.events == [], payload


def _with_payload(payload: str) -> Page:
    page: Page = with_texts(tiny_page(), lambda text: f"{text}\n\n{payload}\n\n{payload}", prose=True)
    return page


def test_the_policy_stops_what_would_slip_through(browser: Any, report: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.3)
    there = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    rogue = (
        f"<script>document.title = 'taken'</script><img src='{there}' onerror=\"document.title = 'taken'\">"
        "<b id=rogue style='color: rgb(1, 2, 3)'>b</b><style>#rogue { display: none }</style>"
        f"<iframe src='{there}'></iframe><link rel=stylesheet href='{there}'></main>"
    )
    report.write_text(report.read_text(encoding="utf-8").replace("</main>", rogue), encoding="utf-8")
    with listener, browser.new_context() as context:
        visit = Visit(context, report)
        assert visit.tab.title() != "taken"
        assert visit.tab.evaluate("getComputedStyle(document.getElementById('rogue')).color") != "rgb(1, 2, 3)"
        assert visit.tab.locator("#rogue").is_visible()
        assert sum("Content Security Policy" in event for event in visit.events) >= 4
        assert _sent_to(listener) == b""


def _sent_to(listener: socket.socket) -> bytes:
    """What reached the listener: Chromium may open a connection ahead of time, but must ask nothing through it."""
    sent = b""
    with contextlib.suppress(TimeoutError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(0.3)
                sent += connection.recv(1000)
    return sent


def test_the_filter_narrows_the_cases(browser: Any, report: Path) -> None:
    with browser.new_context(offline=True) as context:
        tab = Visit(context, report).tab
        count, shown = tab.locator("#filter-count"), tab.locator(".case:not([hidden]) h4")
        playwright.expect(count).to_have_text("10 of 10 cases")
        tab.check("input[value=inconsistent]")
        playwright.expect(count).to_have_text("1 of 10 cases")
        playwright.expect(shown).to_have_text(["oq-044"])
        tab.uncheck("input[value=inconsistent]")
        tab.check("input[value=unreadable]")
        playwright.expect(count).to_have_text("2 of 10 cases")
        tab.select_option("#filter-category", label="mathematics (2)")
        playwright.expect(shown).to_have_text(["oq-120"])
        tab.uncheck("input[value=unreadable]")
        tab.select_option("#filter-category", "")
        tab.fill("#filter-text", "  画蛇 ")
        playwright.expect(shown).to_have_text(["oq-102"])
        tab.press("#filter-text", "Enter")
        tab.fill("#filter-text", "nothing says this")
        playwright.expect(count).to_have_text("0 of 10 cases")
        assert tab.locator("#filter-none").is_visible()


def test_a_link_opens_its_case_even_when_filtered_away(browser: Any, report: Path) -> None:
    with browser.new_context(offline=True) as context:
        tab = Visit(context, report).tab
        anchor = tab.evaluate("document.querySelectorAll('.case .body')[4].id")
        tab.fill("#filter-text", "heapq")
        playwright.expect(tab.locator("#filter-count")).to_have_text("1 of 10 cases")
        tab.evaluate(f"location.hash = '{anchor}'")
        playwright.expect(tab.locator(f"#{anchor}")).to_be_in_viewport()


def test_it_can_be_read_without_script_and_by_keyboard(browser: Any, report: Path) -> None:
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        tab = Visit(context, report).tab
        playwright.expect(tab.locator("#filter")).to_be_hidden()
        playwright.expect(tab.locator(".case")).to_have_count(10)
        tab.keyboard.press("Tab")
        playwright.expect(tab.locator(".skip")).to_be_focused()
        body = tab.locator(".case .body").first
        playwright.expect(body).to_be_hidden()
        tab.locator(".case > summary").first.focus()
        tab.keyboard.press("Enter")
        playwright.expect(body).to_be_visible()
        case = tab.locator(".case .body").nth(3)
        tab.goto(f"{report.as_uri()}#{case.get_attribute('id')}")
        playwright.expect(case).to_be_visible()
