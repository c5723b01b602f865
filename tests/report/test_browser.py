"""A report in a real browser, the system's Chromium: drawn, switched, zoomed, on a phone, in the dark, without network."""

from __future__ import annotations

import pytest
from chromium import browser, needs_chromium
from playwright.sync_api import expect
from report_results import HOSTILE, result, scenario

from hasten.report.run_report import write_run_report

pytestmark = needs_chromium
__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_run_report(
        path, scenario(HOSTILE), [result(), result(HOSTILE)], f"hasten simulate {HOSTILE}", {HOSTILE: HOSTILE}
    )
    return path.as_uri()


@pytest.fixture
def page(browser, address, request):
    """The report; an error in it, a script of a name's, or anything it asks for fails the test."""
    told, asked = [], []
    shown = browser.new_page(**getattr(request, "param", {}))
    shown.on("pageerror", lambda error: told.append(str(error)))
    shown.on("console", lambda line: told.append(line.text) if line.type == "error" else None)
    shown.on("request", lambda one: asked.append(one.url))
    shown.goto(address)
    for figure in shown.locator("figure.explore").all():
        figure.scroll_into_view_if_needed()
    expect(shown.locator("figure.explore canvas")).to_have_count(5)
    yield shown
    shown.close()
    assert told == [] and asked == [address]


def test_what_is_under_the_cursor_is_told(page):
    plot = page.locator(".u-over").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + 20)
    tip = plot.locator(".tip")
    expect(tip).to_contain_text("ms")
    expect(tip.locator("div").first).to_have_text("greedy0.5")
    expect(tip.locator("div").nth(1)).to_have_text(f"{HOSTILE}0.5")


def test_the_legend_switches_by_keyboard(page):
    button = page.locator(".legend button", has_text="greedy").first
    page.locator(".u-over").first.scroll_into_view_if_needed()
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    box = page.locator(".u-over").first.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    expect(page.locator(".tip").first.locator("div")).to_have_count(1)


def test_charts_of_a_figure_are_zoomed_together(page):
    figure = page.locator("figure.explore").nth(1)
    reset = figure.get_by_role("button", name="Show all of it again")
    expect(reset).to_be_disabled()
    figure.get_by_role("button", name="Zoom in").click()
    expect(reset).to_be_enabled()
    reset.click()
    expect(reset).to_be_disabled()
    box = figure.locator(".u-over").nth(1).bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 50, steps=4)
    page.mouse.up()
    expect(reset).to_be_enabled()
    figure.locator(".u-over").nth(1).dblclick(position={"x": 300, "y": 50})
    expect(reset).to_be_disabled()


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}], indirect=True)
def test_on_a_phone_in_the_dark(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 18, 23)"
    page.emulate_media(color_scheme="light")
    expect(page.locator("figure.explore canvas")).to_have_count(5)
