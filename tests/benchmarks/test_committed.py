"""The tables that ship: every record fits its table, and the page that lies beside it shows what the records say."""

import pytest

from benchmarks.board import Board
from benchmarks.home import Home
from benchmarks.metapath_report import load as load_metapath
from benchmarks.metapath_report import overview
from benchmarks.report_document import Grid, markdown_grid
from benchmarks.report_protocol import protocol
from benchmarks.report_sections import Sections
from benchmarks.summary import Summary

HOME = Home()


@pytest.mark.parametrize("name", HOME.names())
def test_records_fit_their_table_and_its_page(name: str) -> None:
    board = Board.load(name)
    sections = Sections(Summary.of(board))
    shown = (HOME.root / "results" / f"{name}.md").read_text()
    for rule in board.table.masking:
        assert markdown_grid(sections.leaderboard(rule)) in shown
    for section in (sections.published(), sections.costs(), sections.configurations(), protocol(sections.summary)):
        for part in section.parts:
            if isinstance(part, Grid):
                assert markdown_grid(part) in shown, section.title


def test_records_of_graphs_fit_their_page() -> None:
    made, _ = load_metapath(HOME.root)
    shown = (HOME.root / "results" / "metapath.md").read_text()
    assert markdown_grid(overview(made)) in shown
