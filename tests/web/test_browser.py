"""The page in a real browser, the system's Chromium: over a finished run, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import json
import time

import pytest
from chromium import browser, needs_chromium
from playwright.sync_api import expect
from web_logs import told_round

from hasten.web.folder import RunFolder
from hasten.web.server import WebPlace, WebServer

pytestmark = needs_chromium
__all__ = ["browser"]


class Dial:
    """A control that notes its orders."""

    def __init__(self):
        self.orders = []

    def offered(self):
        return [{"do": "rate", "title": "link rate ×", "kind": "number", "value": 1, "min": 0.01, "max": 100}]

    def do(self, order):
        self.orders.append(order)
        return f"rate set to {order['value']}"


@pytest.fixture
def dial():
    return Dial()


@pytest.fixture
def server(folder, dial):
    (folder / "greedy-0.round.json").write_text(json.dumps(told_round()))
    with WebServer(RunFolder(folder), WebPlace(), dial) as running:
        yield running


@pytest.fixture
def page(browser, server, request):
    """The page, opened with its token; any error in it fails the test."""
    told = []
    shown = browser.new_page(**getattr(request, "param", {}))
    shown.on("pageerror", lambda error: told.append(str(error)))
    shown.on("console", lambda line: told.append(line.text) if line.type == "error" else None)
    shown.goto(server.address)
    expect(shown.locator("#table tbody tr")).to_have_count(2)
    yield shown
    shown.close()
    assert told == []


def total(page, title):
    return page.locator("#totals div", has_text=title).locator("dd span").first


def test_a_finished_run_with_its_slider(page):
    expect(page.locator("#status")).to_have_text("finished")
    expect(total(page, "On-time accuracy so far")).to_have_text("0.875")
    expect(total(page, "tasks")).to_have_text("80")
    expect(page.locator("#accuracy canvas")).to_be_visible()
    assert "token" not in page.url
    page.locator("#time").evaluate("(node) => { node.value = 5000; node.dispatchEvent(new Event('input')); }")
    expect(total(page, "tasks")).to_have_text("41")
    page.locator("#now").click()
    expect(total(page, "tasks")).to_have_text("80")
    page.locator("#play").click()
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    expect(total(page, "tasks")).not_to_have_text("80")


def test_by_keyboard(page):
    first, second = page.locator("#table tbody tr").all()
    first.focus()
    page.keyboard.press("ArrowDown")
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-selected", "true")
    expect(page.locator("[data-plot=latency] .of")).to_have_text("cam-2")
    page.keyboard.press("Escape")
    expect(second).to_have_attribute("aria-selected", "false")
    expect(page.locator("[data-plot=latency] .of")).to_have_text("all streams")


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}], indirect=True)
def test_on_a_phone_in_the_dark(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 18, 23)"
    first = page.locator("#table tbody tr").first
    expect(first).to_contain_text("cam-1")
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].some((node) => node.scrollWidth > node.clientWidth)"
    )
    assert not wide, "nothing scrolls sideways"
    expect(first.locator("td[data-title^=p95]")).to_be_in_viewport(ratio=1)


def test_a_control_says_what_it_did(page, dial):
    page.locator("#controls input").fill("0.5")
    page.locator("#controls button").click()
    expect(page.locator("#said")).to_have_text("rate set to 0.5")
    assert dial.orders == [{"do": "rate", "value": 0.5}]


def test_without_the_token_there_are_no_controls(browser, server):
    page = browser.new_page()
    page.goto(server.address.partition("?")[0])
    expect(page.locator("#table tbody tr")).to_have_count(2)
    expect(page.locator("#controls")).to_be_hidden()
    page.close()


def test_a_round_that_goes_on_is_followed(browser, folder):
    told = told_round(ended=False, began_s=time.time() - 10.0)
    (folder / "greedy-0.round.json").write_text(json.dumps(told))
    with WebServer(RunFolder(folder), WebPlace()) as server:
        page = browser.new_page()
        page.goto(server.address)
        expect(page.locator("#status")).to_have_text("● live")
        log = folder / "greedy-0-cam-1.jsonl"
        line = json.loads(log.read_text().splitlines()[0]) | {"task": 40, "arrival_ms": 9_900.0}
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        expect(total(page, "tasks")).to_have_text("81")
    expect(page.locator("#status")).to_have_text("disconnected")
    page.close()
