"""Pages of Markdown: their sections and tables, and the same page as one file of HTML."""

from __future__ import annotations

import base64
import html
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #ccc;
padding:.2rem .6rem;text-align:left;font-variant-numeric:tabular-nums}pre{background:#f6f6f6;
padding:.8rem;overflow-x:auto;white-space:pre-wrap}img{max-width:100%}"""


def sections(parts: Mapping[str, str]) -> str:
    """A page of {heading: text}; a section without a text is left out."""
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts.items() if text) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    cell = lambda text: " ".join(text.split()).replace("|", "\\|")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def to_html(text: str, folder: Path, title: str) -> str:
    """The page with its pictures, named relative to `folder`, inside: it needs no other file."""
    from markdown_it import MarkdownIt

    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)

    def embed(match: re.Match[str]) -> str:
        file = folder / urllib.parse.unquote(html.unescape(match[1]))
        if not file.is_file():
            return match[0]
        data = base64.b64encode(file.read_bytes()).decode()
        return f'<img src="data:image/png;base64,{data}"'

    page = re.sub(r'<img src="([^"]+)"', embed, page)
    title = html.escape(title, quote=False)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html><head>{head}</head><body>\n{page}</body></html>\n"
