"""Takes the pictures of `docs/web.md`: the live page over a run's folder, in the system's Chromium.

python scripts/web_pictures.py out/demo/tasks
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from hasten.web.folder import RunFolder
from hasten.web.server import WebPlace, WebServer

IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLORS = 96
"""As many as the page needs; so the files are small."""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 780}


def picture(browser: Browser, address: str, name: str, size: dict[str, int], scheme: str) -> None:
    """Take one picture."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#table tbody tr")
    page.locator("#round").select_option(label="greedy, seed 0")
    page.wait_for_timeout(800)  # until everything has its place
    page.screenshot(path=IMAGES / name)
    page.close()
    with Image.open(IMAGES / name) as taken:
        taken.convert("RGB").quantize(COLORS).save(IMAGES / name, optimize=True)


def main() -> None:
    """Serve the run and take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    with WebServer(RunFolder(given.run), WebPlace()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        picture(browser, server.address, "web-light.png", DESKTOP, "light")
        picture(browser, server.address, "web-dark.png", DESKTOP, "dark")
        picture(browser, server.address, "web-phone.png", PHONE, "light")
        browser.close()


if __name__ == "__main__":
    main()
