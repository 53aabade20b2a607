"""A report as such: sections of sentences, grids and figures, and how they become Markdown, HTML and LaTeX."""

import html
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from graphcl.errors import InputError
from graphcl.training.checkpoint import make_folder, replacing
from recsys.report import STYLE, whole_page

PAGE_STYLE = (
    STYLE
    + """
body { max-width: 1340px } h3 { font-size: 1em; margin: 1.6em 0 .4em } p, li, figcaption { max-width: 56em }
ul { margin: .5em 0; padding-left: 1.2em }
figure { margin: 1.2em 0 } figcaption { color: #666; font-size: 13.5px; margin-top: .5em }
.wide { overflow-x: auto } table { font-size: 13.5px; font-variant-numeric: tabular-nums } th, td { padding: .3em .6em }
th { background: #f6f6f6; font-weight: 600 } th, td.number { white-space: nowrap } td:first-child { min-width: 10em }
th.text, td.text { text-align: left } td.text + td.text, td.number + td.text { min-width: 8em }
tr.absent td { color: #999 }
"""
)
ABSENT = "not run"
"""What stands in the cells of a row that has no record."""
POINT = "- "
"""What a sentence begins with that is a point of a list."""


@dataclass(frozen=True)
class Grid:
    """Cells under a header; the first column names the rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of the cells that stand out."""
    text: frozenset[int] = field(default_factory=lambda: frozenset({0}))
    """The columns that hold words, not numbers."""


@dataclass(frozen=True)
class Figure:
    """A drawing that needs nothing from outside."""

    svg: str
    caption: str


Part = str | Grid | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    sections: Sequence[Section]


def plain(text: str) -> str:
    """Text as Markdown, on one line, where nothing becomes a tag; names in backticks stay code."""
    return re.sub(r"(`[^`]*`)|<(?=[A-Za-z/!?])", lambda found: found[1] or "&lt;", " ".join(text.split("\n")))


def in_grid(text: str) -> str:
    """The same in a table, where pipes part the cells, and two stars would mark what is best."""
    return re.sub(r"[\\|*]", r"\\\g<0>", plain(text))


def markdown(document: Document, footer: str = "") -> str:
    """Everything but the figures."""
    blocks = [f"# {plain(document.title)}", plain(document.lead)]
    for section in document.sections:
        parts = [part for part in section.parts if not isinstance(part, Figure)]
        if parts:
            blocks.append(f"## {section.title}")
            blocks += [plain(part) if isinstance(part, str) else markdown_grid(part) for part in parts]
    return "\n\n".join([*blocks, *([footer] if footer else [])]) + "\n"


def markdown_grid(grid: Grid) -> str:
    """A table of pipes, its caption below it."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = [":--" if column in grid.text else "--:" for column in range(len(grid.header))]
    body = [
        [f"**{cell}**" if (row, column) in grid.best else cell for column, cell in enumerate(map(in_grid, cells))]
        for row, cells in enumerate(grid.rows)
    ]
    lines = [line([in_grid(name) for name in grid.header]), line(rule), *map(line, body)]
    return "\n".join(lines) + (f"\n\n{plain(grid.caption)}" if grid.caption else "")


def page(document: Document) -> str:
    """One HTML page that needs nothing from outside."""
    body = "".join(
        f"<section><h2>{html.escape(section.title)}</h2>{''.join(html_parts(section.parts))}</section>"
        for section in document.sections
    )
    head = f"<h1>{html.escape(document.title)}</h1><p class=lead>{prose(document.lead)}</p>"
    return whole_page(document.title, PAGE_STYLE, head + body) + "\n"


def html_parts(parts: Sequence[Part]) -> Iterator[str]:
    """Each part as HTML."""
    for part in parts:
        if isinstance(part, Grid):
            yield html_grid(part)
        elif isinstance(part, Figure):
            yield f"<figure>{part.svg}<figcaption>{prose(part.caption)}</figcaption></figure>"
        elif part.startswith(POINT):
            yield f"<ul><li>{prose(part.removeprefix(POINT))}</ul>"
        else:
            yield f"<p>{prose(part)}</p>"


def prose(text: str) -> str:
    """A sentence as HTML, names in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def html_grid(grid: Grid) -> str:
    """A table that can be scrolled sideways; its caption cannot."""

    def cell(tag: str, column: int, text: str, strong: bool = False) -> str:
        kind = "text" if column in grid.text else "number"
        text = html.escape(text)
        return f"<{tag} class={kind}>{f'<b>{text}</b>' if strong else text}</{tag}>"

    names = "".join(cell("th", column, name) for column, name in enumerate(grid.header))
    head = f"<tr>{names}</tr>" if any(grid.header) else ""
    body = "".join(
        f"<tr{' class=absent' if ABSENT in cells else ''}>"
        + "".join(cell("td", column, text, (row, column) in grid.best) for column, text in enumerate(cells))
        + "</tr>"
        for row, cells in enumerate(grid.rows)
    )
    caption = f"<figcaption>{prose(grid.caption)}</figcaption>" if grid.caption else ""
    return f"<figure><div class=wide><table>{head}{body}</table></div>{caption}</figure>"


LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "—": "---",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "\n": " ",
}
"""What LaTeX would not print as it stands."""


def latex(grid: Grid, label: str) -> str:
    """A table for a paper; it needs the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        first = "{}" if cells[0].startswith(("[", "*")) else ""  # after the end of a row these would be its options
        return first + " & ".join(cells) + r" \\"

    body = [
        line(
            [
                f"\\textbf{{{tex(cell)}}}" if (row, column) in grid.best else tex(cell)
                for column, cell in enumerate(cells)
            ]
        )
        for row, cells in enumerate(grid.rows)
    ]
    columns = "".join("l" if column in grid.text else "r" for column in range(len(grid.header)))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{tex(grid.caption)}}}",
            f"\\label{{tab:{label}}}",
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line([tex(name) for name in grid.header]),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def tex(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(LATEX.get(sign, sign) for sign in text)


def write(place: Path, **texts: str) -> list[Path]:
    """Write `md="..."` as `place.md`, and so on, the first when all are on the disk; returns the files.

    Raises:
        InputError: one of them cannot be written; then all are as they were.
    """
    make_folder(place.parent)
    paths = {place.with_name(f"{place.name}.{form}"): text for form, text in texts.items()}
    if folder := next((path for path in paths if path.is_dir()), None):
        raise InputError(f"{folder}: is a folder, where a file of the report belongs; move it away")
    with ExitStack() as stack:
        for path, text in paths.items():
            stack.enter_context(replacing(path)).write_bytes(text.encode())
    return list(paths)
