"""Takes the picture of `docs/reports.md`: a report of `hasten run` or `hasten simulate`, in the system's Chromium.

python scripts/report_pictures.py out/demo/report.html
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, sync_playwright

TARGET = Path(__file__).parent.parent / "docs" / "images" / "report-light.png"
COLORS = 200
"""As many as the page needs; so the file is small."""
SIZE = {"width": 1180, "height": 900}
CLIP: FloatRect = {"x": 0, "y": 12, "width": 1180, "height": 662}
"""From the legend to the word on zooming."""


def main() -> None:
    """Open the page where its choices are, with the cursor on a task, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(given.report.resolve().as_uri())
        figure = page.locator("figure.explore").nth(1)
        figure.scroll_into_view_if_needed()
        figure.locator("canvas").nth(1).wait_for()
        page.evaluate("document.querySelectorAll('h2')[2].scrollIntoView()")
        page.locator("figure.explore").nth(1).locator(".u-over").nth(1).hover(position={"x": 420, "y": 150})
        page.wait_for_timeout(300)  # until it is drawn
        page.screenshot(path=TARGET, clip=CLIP)
        browser.close()
    with Image.open(TARGET) as taken:
        taken.convert("RGB").quantize(COLORS).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
