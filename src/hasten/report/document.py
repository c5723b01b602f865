"""One text, two forms: the blocks of a page, written as Markdown with figures beside it or as one HTML file."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from hasten.core.output import write_text
from hasten.report.charts import Chart, charts_json, tone
from hasten.report.figures import svg_of
from hasten.report.page import write_page


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text; ``lead`` is the page's conclusion."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class TableBlock:
    """Rows of plain cells; ``detail`` tables are folded in HTML and left out of Markdown.

    ``best`` is the row that HTML marks.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    detail: bool = False
    best: int | None = None

    @property
    def words(self) -> list[bool]:
        """Which columns hold words instead of numbers; these begin at the left."""
        return [i == 0 or any(re.search("[A-Za-z]{2}", row[i]) for row in self.rows) for i in range(len(self.head))]

    @property
    def lists(self) -> list[bool]:
        """Which columns hold lists of shares, as ``1:30% 2:70%``; these may be folded."""
        return [any(row[i].count("% ") for row in self.rows) for i in range(len(self.head))]


@dataclass(frozen=True)
class Plot:
    """A figure as SVG; its name is that of its file beside the Markdown."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Explore:
    """Charts that belong together, with one legend. Markdown has ``still`` in their place."""

    caption: str
    charts: Sequence[Chart]
    still: Plot | None = None


@dataclass(frozen=True)
class Bar:
    """A share from 0 to 1, what it is the mean of, and another to compare it with."""

    label: str
    share: float
    parts: Sequence[float] = ()
    other: float | None = None


@dataclass(frozen=True)
class Bars:
    """Shares as bars; the other share is a diamond."""

    caption: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Definitions:
    """Plain terms, and what is to say of each."""

    items: Mapping[str, str]


@dataclass(frozen=True)
class Listing:
    """A text to be read as it stands, folded in HTML and left out of Markdown."""

    caption: str
    text: str


Block = Heading | Paragraph | Bullets | TableBlock | Plot | Explore | Bars | Definitions | Listing


def write_html(path: Path, blocks: Sequence[Block]) -> None:
    """Write one self-contained page."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    charts = any(isinstance(block, Explore) for block in blocks)
    write_page(path, title, "".join(_html(block) for block in blocks), charts)


def write_markdown(path: Path, blocks: Sequence[Block]) -> None:
    """Write the text, and its figures into a folder beside it that has the text's name."""
    folder = path.with_suffix("")
    stills = [block.still if isinstance(block, Explore) else block for block in blocks]
    figures = {folder / f"{still.name}.svg": still.figure for still in stills if isinstance(still, Plot)}
    for file, figure in figures.items():
        write_text(file, svg_of(figure))
    texts = (_markdown(block, folder.name) for block in blocks)
    write_text(path, "\n\n".join(text for text in texts if text) + "\n")
    for old in set(folder.glob("*.svg")) - set(figures):
        old.unlink()


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text, lead):
            return f"<p{_class('lead' if lead else '')}>{_inline(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Plot(_, caption, figure):
            drawn = f'<div class="scroll">{_themed(svg_of(figure))}</div>'
            return f"<figure>{drawn}{_caption(caption)}</figure>"
        case Explore(caption, charts):
            data = f'<script type="application/json">{charts_json(charts)}</script>'
            return f'<figure class="explore">{data}{_caption(caption)}</figure>'
        case Bars(caption, bars):
            drawn = "".join(_html_bar(number, bar) for number, bar in enumerate(bars))
            return f'<figure><div class="bars">{drawn}</div>{_caption(caption)}</figure>'
        case Definitions(items):
            pairs = (f"<dt>{_inline(term)}</dt><dd>{_inline(said)}</dd>" for term, said in items.items())
            return f"<dl>{''.join(pairs)}</dl>"
        case Listing(caption, text):
            return f"<details><summary>{_inline(caption)}</summary><pre>{html.escape(text)}</pre></details>"
        case TableBlock():
            return _html_table(block)


def _html_bar(number: int, bar: Bar) -> str:
    marks = [f'<i style="--v:{bar.share:.4f};--tone:var(--{tone(number)})"></i>']
    marks += [f'<s style="--v:{part:.4f}"></s>' for part in bar.parts]
    marks += [] if bar.other is None else [f'<em style="--v:{bar.other:.4f}"></em>']
    return f"<span>{_inline(bar.label)}</span><div>{''.join(marks)}</div><b>{bar.share:.3f}</b>"


def _html_table(block: TableBlock) -> str:
    both = zip(block.words, block.lists, strict=True)
    kinds = [" ".join(["words"] * words + ["list"] * folded) for words, folded in both]
    heads = "".join(f"<th{_class(kind)}>{_inline(cell)}</th>" for kind, cell in zip(kinds, block.head, strict=True))
    lines = []
    for number, row in enumerate(block.rows):
        cells = (f"<td{_class(kind)}>{_inline(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        lines.append(f"<tr{_class('best' if number == block.best else '')}>{''.join(cells)}</tr>")
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    table = f'<div class="scroll" tabindex="0">{table}</div>'
    if block.detail:
        return f"<details><summary>{_inline(block.caption)}</summary>{table}</details>"
    return f'<p class="note">{_inline(block.caption)}</p>{table}' if block.caption else table


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _caption(text: str) -> str:
    return f'<figcaption class="note">{_inline(text)}</figcaption>' if text else ""


NEUTRAL = {
    "#ffffff": "card",
    "#e6e8eb": "grid",
    "#8a9099": "line",
    "#30363d": "text",
    "#1f2328": "text",
    "#57606a": "soft",
    "#d0d7de": "line",
    "#eceff2": "grid",
}
"""Colours of figures that a dark page needs otherwise, by names of the page's palette."""


def _themed(svg: str) -> str:
    """A figure that takes its neutral colours from the page."""
    return re.sub(r"#[0-9a-f]{6}(?=[;\"])", lambda it: f"var(--{NEUTRAL[it[0]]})" if it[0] in NEUTRAL else it[0], svg)


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
        case Explore(_, _, still):
            return "" if still is None else _markdown(still, folder)
        case Bars(caption, bars):
            return "\n".join(f"- {bar.label}: {bar.share:.3f}" for bar in bars) + (f"\n\n{caption}" if caption else "")
        case Definitions(items):
            return "\n".join(f"- {term}: {said}" for term, said in items.items())
        case Listing():
            return ""
        case TableBlock(caption, head, rows, detail):
            if detail:
                return ""
            marks = "|".join("---" if words else "--:" for words in block.words)
            drawn = [f"| {' | '.join(head)} |", f"|{marks}|", *(f"| {' | '.join(row)} |" for row in rows)]
            return f"{caption}\n\n" + "\n".join(drawn)
