"""The frame of every page: one file with its style, its scripts and the chart library inside, that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from pathlib import Path

from hasten.core.output import write_text

UPLOT = ("web", "static", "uplot")
"""Where the chart library is that the live page uses, too."""


def write_page(path: Path, title: str, body: str, charts: bool = False) -> None:
    """Write a self-contained page around ``body`` (HTML), with what draws charts if there are any.

    The page allows itself nothing from elsewhere, and no scripts but its own.
    """
    scripts = [_own("hasten", *UPLOT, "uPlot.iife.min.js"), _own("hasten.report", "templates", "report.js")]
    scripts = scripts if charts else []
    style = _own("hasten.report", "templates", "report.css")
    style = _own("hasten", *UPLOT, "uPlot.min.css") + style if charts else style
    allowed = " ".join(_hash(script) for script in scripts) or "'none'"
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head><body><main>{body}</main>"
        + "".join(f"<script>{script}</script>" for script in scripts)
        + "</body></html>\n"
    )
    write_text(path, page)


def _own(package: str, *path: str) -> str:
    return resources.files(package).joinpath(*path).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
