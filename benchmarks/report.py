"""A table's report, in four forms from the same records: Markdown, CSV, LaTeX, and a page with plots."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from benchmarks.board import Board
from benchmarks.report_document import latex, markdown, page, write
from benchmarks.report_sections import Sections
from benchmarks.summary import Summary

COLUMNS = (
    "table",
    "row",
    "masking",
    "metric",
    "mean",
    "sd",
    "seeds",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "effect",
    "p",
    "p_holm",
)
"""Of the CSV; what is about users or the best baseline is only given for the monitored metric."""


def write_report(board: Board) -> list[Path]:
    """Write the report of a table beside its folder of records; returns the files.

    Raises:
        InputError: a record is damaged or does not belong to the table.
    """
    summary = Summary.of(board)
    sections = Sections(summary)
    document = sections.document()
    place = board.home.results(board.name)
    footer = (
        f"Written by `python -m benchmarks report {board.name}` from the records in `{place.name}/`; plots are on the "
        f"page `{place.name}.html` that it writes beside this one."
    )
    return write(
        place,
        md=markdown(document, footer),
        csv=values(summary),
        tex="\n".join(latex(sections.leaderboard(rule), f"{board.name}-{rule}") for rule in board.table.masking),
        html=page(document),
    )


def values(summary: Summary) -> str:
    """Every value of the table, a line each; a row that was not run has lines without values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines(summary))
    return text.getvalue()


def lines(summary: Summary) -> Iterator[dict[str, object]]:
    """The lines of the CSV."""
    table = summary.board.table
    for row in summary.rows:
        for rule in table.masking:
            for metric in table.metrics:
                line: dict[str, object] = {"table": summary.board.name, "row": row, "masking": rule, "metric": metric}
                value = summary.value(row, rule, metric)
                line["seeds"] = 0 if value is None else len(value.seeds)
                if value is not None:
                    line |= {"mean": value.mean, "sd": "" if value.sd is None else value.sd}
                    if metric == table.monitor:
                        line |= about_users(summary, row, rule)
                yield line


def about_users(summary: Summary, row: str, rule: str) -> dict[str, object]:
    """The interval of a row, and how it stands to the best baseline."""
    found: dict[str, object] = {}
    ends = summary.interval(row, rule)
    if ends is not None:
        found |= {"low": ends[0], "high": ends[1]}
    comparison = {str(name): part for name, part in summary.comparisons.items()}[rule].get(row)
    if comparison is not None:
        found |= {
            "difference": comparison.difference,
            "difference_low": comparison.low,
            "difference_high": comparison.high,
            "effect": comparison.effect,
            "p": comparison.p,
            "p_holm": comparison.p_holm,
        }
    return found
