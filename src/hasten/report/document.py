"""One text, two forms: the blocks of a page, written as Markdown with figures beside it or as one HTML file."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hasten.core.output import write_text
from hasten.report.page import write_page


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class TableBlock:
    """Rows of plain cells; ``detail`` tables are folded in HTML and left out of Markdown."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    detail: bool = False

    @property
    def words(self) -> list[bool]:
        """Which columns hold words instead of numbers; these begin at the left."""
        return [i == 0 or any(re.search("[A-Za-z]{2}", row[i]) for row in self.rows) for i in range(len(self.head))]


@dataclass(frozen=True)
class Plot:
    """An SVG figure; its name is that of its file beside the Markdown."""

    name: str
    caption: str
    svg: str


Block = Heading | Paragraph | Bullets | TableBlock | Plot


def write_html(path: Path, blocks: Sequence[Block]) -> None:
    """Write one self-contained page."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    write_page(path, title, "".join(_html(block) for block in blocks))


def write_markdown(path: Path, blocks: Sequence[Block]) -> None:
    """Write the text, and its figures into a folder beside it that has the text's name."""
    folder = path.with_suffix("")
    figures = {folder / f"{block.name}.svg": block.svg for block in blocks if isinstance(block, Plot)}
    for figure, svg in figures.items():
        write_text(figure, svg)
    texts = (_markdown(block, folder.name) for block in blocks)
    write_text(path, "\n\n".join(text for text in texts if text) + "\n")
    for old in set(folder.glob("*.svg")) - set(figures):
        old.unlink()


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Plot(_, caption, svg):
            return f'<figure>{svg}<figcaption class="note">{_inline(caption)}</figcaption></figure>'
        case TableBlock(caption, head, rows, detail):
            kinds = [' class="words"' if words else "" for words in block.words]
            heads = "".join(f"<th{kind}>{_inline(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
            lines = (zip(kinds, row, strict=True) for row in rows)
            cells = ("".join(f"<td{kind}>{_inline(cell)}</td>" for kind, cell in line) for line in lines)
            body = "".join(f"<tr>{line}</tr>" for line in cells)
            table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
            if detail:
                return f"<details><summary>{_inline(caption)}</summary>{table}</details>"
            return f'<p class="note">{_inline(caption)}</p>{table}'


def _inline(text: str) -> str:
    """Text with its `code` marked."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Plot(name, caption, _):
            return f"![{caption}]({folder}/{name}.svg)"
        case TableBlock(caption, head, rows, detail):
            if detail:
                return ""
            marks = "|".join("---" if words else "--:" for words in block.words)
            drawn = [f"| {' | '.join(head)} |", f"|{marks}|", *(f"| {' | '.join(row)} |" for row in rows)]
            return f"{caption}\n\n" + "\n".join(drawn)
