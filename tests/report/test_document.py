"""Tables come out alike as page and as Markdown: words at the left, numbers at the right."""

from hasten.report.document import Heading, TableBlock, write_html, write_markdown

BLOCKS = [
    Heading(1, "Title"),
    TableBlock("What `it` says", ["name", "order", "gain"], [["a", "8 streams, grant", "+1.2 %"], ["b", "-", "-"]]),
]


def test_lists_of_shares_may_be_folded_and_nothing_else(tmp_path):
    rows = [["a", "1:30% 2:70%", "west:25% east:50%", "12.5%"], ["b", "", "", "1.0%"]]
    write_html(tmp_path / "page.html", [TableBlock("", ["name", "exits", "edges", "late"], rows)])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<td class="list">1:30% 2:70%</td><td class="words list">west:25% east:50%</td><td>12.5%</td>' in page


def test_columns_of_words_begin_at_the_left(tmp_path):
    write_markdown(tmp_path / "page.md", BLOCKS)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| name | order | gain |\n|---|---|--:|\n| a | 8 streams, grant | +1.2 % |" in text
    write_html(tmp_path / "page.html", BLOCKS)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<td class="words">8 streams, grant</td><td>+1.2 %</td>' in page and "<code>it</code>" in page
