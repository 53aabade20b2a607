"""What reports and verdicts say, from records whose values are known."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.board import Board
from benchmarks.home import Home
from benchmarks.report import write_report
from benchmarks.report_document import Grid, html_parts, latex, markdown_grid, page
from benchmarks.report_sections import Sections
from benchmarks.summary import Summary
from benchmarks.verify import count, verify
from graphcl.errors import InputError
from recsys.evaluation.slices import QUARTERS, THIRDS

USERS = 40
HALF = np.linspace(0.4, 0.6, USERS)
"""Mean 0.5."""


@pytest.fixture
def filled(board, put):
    """Popularity 0.5; MF 0.5 and 0.52 by seed; SimGCL 0.6, one of two seeds."""
    put("popularity", 0, HALF)
    put("mf", 0, HALF)
    put("mf", 1, HALF + 0.02)
    put("simgcl", 0, HALF + 0.1 + 0.01 * np.cos(np.arange(USERS)))
    return board


def source(**changes):
    return {
        "source": "a paper",
        "digest": "aaaa",
        "masking": "history",
        "candidates": "all",
        "selection": "valid",
        "metrics": ["ndcg@5"],
        "rows": {"mf": [0.5]},
        **changes,
    }


def test_means_deviations_and_the_best_baseline(filled):
    summary = Summary.of(filled)
    assert str(summary.value("mf", "history", "ndcg@5")) == "0.5100 ± 0.0141"
    assert str(summary.value("popularity", "train", "ndcg@5")) == "0.5000"
    assert summary.best_baseline("history") == "mf"
    low, high = summary.interval("popularity", "history")
    assert low < 0.5 < high
    # the width of a bootstrap interval is that of the normal one
    assert high - low == pytest.approx(2 * 1.96 * HALF.std() / np.sqrt(USERS), rel=0.1)


def test_comparisons_are_paired_over_users_and_corrected(filled):
    found = Summary.of(filled).comparisons["history"]
    assert set(found) == {"popularity", "simgcl"}
    gain = 0.1 + 0.01 * np.cos(np.arange(USERS)) - 0.01
    assert found["simgcl"].difference == pytest.approx(gain.mean(), abs=1e-6)
    assert found["simgcl"].low < gain.mean() < found["simgcl"].high
    assert found["simgcl"].effect == pytest.approx(gain.mean() / gain.std(ddof=1), rel=1e-3)
    assert found["simgcl"].p == pytest.approx(stats.ttest_1samp(gain, 0).pvalue, rel=0.05)
    assert found["simgcl"].p_holm >= found["simgcl"].p


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"rows": {"mf": [0.515]}}, "reproduced", "-1.0%, 2 seeds"),
        ({"rows": {"mf": [0.4]}}, "above", "+27.5%"),
        ({"rows": {"mf": [0.6]}}, "below", "-15.0%"),
        ({"rows": {"simgcl": [0.6]}}, "reproduced", "1 of 2 seeds"),
        ({"rows": {"paper": [0.6]}}, "not comparable", "this table trains no such row"),
        ({"digest": None}, "not comparable", "made on another split"),
        ({"digest": "eeee"}, "not comparable", "made on the split eeee"),
        ({"masking": None}, "not comparable", "does not say what was masked"),
        ({"masking": "none"}, "not comparable", "other masking: no item left out"),
        ({"candidates": "sampled"}, "not comparable", "other candidates: ranked among a few"),
        ({"candidates": None}, "not comparable", "does not say what was ranked"),
        ({"selection": None}, "not comparable", "does not say how the epoch was chosen"),
        ({"selection": "test"}, "not comparable", "epoch chosen on test"),
        ({"selection": "last"}, "not comparable", "other epoch: the last"),
        ({"metrics": ["ndcg@7"]}, "not comparable", "ndcg@7 is not measured here"),
    ],
)
def test_verdicts(define, filled, changes, status, reason):
    board = define(digest="aaaa", published=[source(**changes)])
    (verdict,) = verify(Summary.of(board))
    assert (verdict.status, reason in verdict.reason) == (status, True), verdict
    # our number may only stand beside one that was made in the same way
    assert (verdict.ours is None) == (status == "not comparable")


def test_a_table_may_rank_only_what_was_trained(define):
    board = define(candidates="trained", digest="aaaa", published=[source()])
    assert board.experiment("mf", 0).evaluation.candidates == "trained"
    assert board.table.words("history").endswith("left out, too")
    (verdict,) = verify(Summary.of(board))
    assert verdict.reason == "other candidates: all items ranked"


def test_a_row_that_is_made_another_way_stands_beside_no_published_value(define, filled):
    rows = filled.table.rows
    mf = {"title": "MF", "model": rows["mf"].model, "baseline": True, "differs": "half the passes here"}
    rows = {name: {"title": name, "model": row.model} for name, row in rows.items() if row.model} | {"mf": mf}
    (verdict,) = verify(Summary.of(define(digest="aaaa", rows=rows, published=[source(rows={"mf": [0.515]})])))
    assert (verdict.status, verdict.reason, verdict.ours) == ("not comparable", "half the passes here", None)


def test_where_the_training_loss_chooses_a_last_epoch_is_comparable(define, put):
    blocks = [source(selection="last"), source(source="another paper")]
    board = define(digest="aaaa", selection="loss", published=blocks)
    last = {"best_epoch": 2, "best_value": 0.5, "last_epoch": 2, "cause": "epochs"}
    put("mf", 0, HALF, board=board, outcome=last)
    verdicts = list(verify(Summary.of(board)))
    assert [verdict.status for verdict in verdicts] == ["reproduced", "not comparable"]
    assert verdicts[1].reason == "other epoch: chosen on validation"


def test_a_row_without_a_record_is_not_run(define):
    (verdict,) = verify(Summary.of(define(digest="aaaa", published=[source()])))
    assert (verdict.status, verdict.ours) == ("not run", None)


def test_nothing_is_comparable_where_nobody_knows_the_split(define, filled):
    (verdict,) = verify(Summary.of(define(published=[source()])))
    assert verdict.status == "not comparable"


def test_sources_have_names_of_their_own(define):
    with pytest.raises(InputError, match="published 'a paper': two blocks are called so"):
        define(published=[source(note="one"), source(note="another")])


def test_a_tolerance_is_told_to_the_digit(define, filled):
    board = define(digest="aaaa", tolerance=0.025, published=[source()])
    assert "reproduced means within 2.5%." in write_report(board)[0].read_text()


def test_verdicts_do_not_change_the_status(define, filled, command):
    define(
        digest="aaaa", published=[source(rows={"mf": [0.9], "simgcl": [0.6]}), source(source="another", digest="eeee")]
    )
    status, output, _ = command("verify", "tiny")
    assert status == 0
    assert "tiny: 1 reproduced (1 with seeds to run), 1 below, 1 not comparable" in output


def test_verdicts_are_told_source_by_source_and_never_cut(define, filled, command):
    long = "a source whose name is much longer than a terminal of eighty columns would show beside its verdicts"
    define(
        digest="aaaa",
        published=[
            source(source=long, rows={"mf": [0.9], "simgcl": [0.6]}),
            source(digest="eeee", rows={"mf": [0.9], "simgcl": [0.6]}),
        ],
    )
    _, output, _ = command("verify", "tiny")
    lines = output.splitlines()
    assert f"  {long}" in lines
    assert [line.split()[:3] for line in lines if "published" in line] == [
        ["below", "mf", "ndcg@5"],
        ["reproduced", "simgcl", "ndcg@5"],
    ]
    assert "    not comparable  mf, simgcl (ndcg@5): made on the split eeee" in lines


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (source(rows={"mff": [0.5]}), "row 'mff' is not in the table; did you mean 'mf'"),
        (source(rows={"mf": [0.5, 0.6]}), "has 2 values for 1 metrics"),
        (source(rows={"mf": [50.5]}), r"rows.mf: 50.5 is not in \(0, 1\]; write 0.05 for 5 %"),
        (source(rows={"mf": [0.0]}), r"rows.mf: 0.0 is not in \(0, 1\]"),
        (source(rows={"mf": [float("nan")]}), "rows.mf: nan is not in"),
        (source(metrics=["ndgc@5"]), "metric 'ndgc@5' is unknown; did you mean 'ndcg@5'"),
        (source(metrics=["ndcg@5", "NDCG@5"], rows={"mf": [0.5, 0.6]}), "write ndcg@5 for 'NDCG@5'"),
        (source(masking="all"), "masking"),
        (source(selecton="valid"), "selecton.*did you mean 'selection'"),
    ],
)
def test_mistakes_in_published_blocks_are_named(define, block, sentence):
    with pytest.raises(InputError, match=sentence):
        define(published=[block])


def test_markdown_says_what_is_missing(define, filled):
    board = define(
        digest="aaaa", published=[source(rows={"mf": [0.505]}), source(source="elsewhere", digest=None, note="a note")]
    )
    text = write_report(board)[0].read_text()
    assert "Split aaaa; 4 of 5 cells run." in text
    assert "| SimGCL & &lt;more> | 0.6" in text
    assert "| 1 of 2 |" in text
    assert "Only in print" not in text.split("## Published values")[0]
    assert "| MF | ndcg@5 | 0.5100 ± 0.0141 | 0.5050 | +1.0%, 2 seeds | reproduced | a paper |" in text
    assert (
        "| elsewhere | MF | not comparable | made on another split, or on one that the source does not name | a note |"
        in text
    )
    assert "c0ffee" in text


def test_an_empty_table_is_a_report_too(board, command):
    assert command("report", "tiny")[0] == 0
    text = board.home.results("tiny").with_name("tiny.md").read_text()
    assert "0 of 5 cells run" in text
    assert text.count("not run") == 2 * 2 * 3  # two rules, two metrics, three rows


def test_every_shipped_table_can_be_reported(home):
    for name in Home().names():
        board = Board.load(name)
        document = Sections(Summary(board, {})).document()
        assert page(document).count("<section>") >= 2, name


def test_the_csv_has_a_line_for_every_value(filled):
    with write_report(filled)[1].open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 2 * 2
    found = {(line["row"], line["masking"], line["metric"]): line for line in lines}
    simgcl = found["simgcl", "history", "ndcg@5"]
    assert float(simgcl["low"]) < float(simgcl["mean"]) < float(simgcl["high"])
    assert float(simgcl["difference"]) == pytest.approx(0.09, abs=1e-3)
    assert found["mf", "history", "ndcg@5"]["difference"] == ""
    assert found["mf", "history", "recall@5"]["seeds"] == "2"


def test_rows_of_other_users_are_not_compared(filled, put):
    put("simgcl", 0, HALF[1:])
    assert "of other users: SimGCL & &lt;more>." in write_report(filled)[0].read_text()


def test_without_a_baseline_nothing_is_compared(board, put):
    put("simgcl", 0, HALF)
    assert "No row is compared with a baseline" in write_report(board)[0].read_text()


def test_a_table_of_published_values_alone_is_a_report_too(define, command):
    define(rows={"paper": {"title": "Only in print"}}, published=[source(rows={"paper": [0.5]})])
    assert command("report", "tiny")[0] == 0


SPLITS = [
    (HALF + 0.1, HALF + 0.12, "better"),
    (HALF - 0.1, HALF - 0.12, "worse"),
    (HALF + 0.001, HALF + 0.2, "no difference shown: seeds overlap"),
    (HALF[::-1], HALF[::-1] + 0.02, "no difference shown"),
    (HALF + 0.1, None, "not judged: seeds to run"),
]


@pytest.mark.parametrize(("first", "second", "finding"), SPLITS)
def test_users_alone_do_not_make_a_row_better(board, put, first, second, finding):
    put("popularity", 0, HALF - 0.4)
    put("mf", 0, HALF)
    put("mf", 1, HALF + 0.02)
    for seed, values in enumerate((first, second)):
        if values is not None:
            put("simgcl", seed, values)
    assert findings(board)["SimGCL & <more>"] == ("2" if second is not None else "1 of 2", finding)


def findings(board):
    """Row -> its number of seeds and what its comparison says."""
    sections = Sections(Summary.of(board))
    grid = next(part for part in sections.comparisons("history") if isinstance(part, Grid))
    return {title: (seeds, said) for title, *_, seeds, said in grid.rows}


def test_nothing_is_judged_while_any_baseline_is_to_run(board, put):
    for seed in (0, 1):
        put("mf", seed, HALF)
        put("simgcl", seed, HALF + 0.1)
    assert findings(board) == {"SimGCL & <more>": ("2", "not judged: a baseline has seeds to run")}


def test_other_seeds_do_not_stand_for_those_of_the_table(board, put):
    put("popularity", 0, HALF - 0.4)
    for seed in (0, 1):
        put("mf", seed, HALF)
    for seed in (1, 5):
        put("simgcl", seed, HALF + 0.1)
    assert not Summary.of(board).complete("simgcl")
    assert findings(board)["SimGCL & <more>"] == ("1 of 2 and 1 not of these", "not judged: seeds to run")


def spoilt(name):
    """Ways to damage a record: what it then has, and what is said of it."""
    return {
        "nan": (
            lambda tree: tree["test"]["history"].update({"ndcg@5": float("nan")}),
            r"test: must be in \[0, 1\] \(got nan\)",
        ),
        "percent": (lambda tree: tree["test"]["train"].update({"ndcg@5": 50.0}), r"test: must be in \[0, 1\]"),
        "cost": (lambda tree: tree["spent"].update(cpu_seconds=-1), "spent.cpu_seconds: must be >= 0"),
        "slice": (lambda tree: tree.update(slices={"history": {"q": {"users": float("nan")}}}), "slices: must be >= 0"),
        "no curve": (lambda tree: tree.update(curve=[]), "does not have each epoch from 0 to 2"),
        "users": (lambda tree: tree.update(users=999), "says 999 users, mf-0.npz has 40"),
        "outcome": (lambda tree: tree.update(outcome={}), "which epoch was best"),
        "gpu": (lambda tree: tree["environment"]["machine"].pop("gpu"), "where it was made"),
        "machine": (lambda tree: tree["environment"].update(machine="a laptop"), "where it was made"),
        "packages": (lambda tree: tree["environment"].update(packages="torch"), "where it was made"),
        "best": (lambda tree: tree["outcome"].update(best_epoch=-1), "which epoch was best"),
        "epoch": (lambda tree: tree["outcome"].update(best_epoch="x"), "which epoch was best"),
        "curve": (lambda tree: tree["curve"][1].pop("epoch"), "does not have each epoch from 0 to 2"),
        "metric": (lambda tree: tree["curve"][1].update(metrics={"ndcg@5": "high"}), "whose metrics are no numbers"),
        "third": (
            lambda tree: tree.update(slices={"history": {THIRDS[0]: {"items": 1.0, "truth": 1.0, "shown@5": 1.0}}}),
            f"of the slice {THIRDS[1]}",
        ),
        "slices": (lambda tree: tree.update(slices={"history": {QUARTERS[0]: {"users": 1.0}}}), "lacks one of"),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "nan",
        "percent",
        "cost",
        "slice",
        "no curve",
        "users",
        "outcome",
        "gpu",
        "machine",
        "packages",
        "epoch",
        "curve",
        "metric",
        "third",
        "slices",
    ],
)
def test_damaged_parts_of_a_record_are_named_and_silence_no_other_table(name, filled, home, command):
    spoil, sentence = spoilt(name)
    (home / "tables" / "also.yaml").write_text((home / "tables" / "tiny.yaml").read_text())
    path = home / "results" / "tiny" / "mf-0.json"
    tree = json.loads(path.read_text())
    spoil(tree)
    path.write_text(json.dumps(tree))
    for call in ("report", "verify"):
        status, output, errors = command(call)
        assert status == 1 and re.search(sentence, errors)
        assert "also" in output


def test_costs_of_a_gpu_and_of_a_cpu_are_not_averaged(board, put):
    environment = json.loads(put("mf", 0, HALF).read_text())["environment"]
    put("mf", 1, HALF, environment=environment | {"machine": environment["machine"] | {"gpu": "H200"}})
    costs = list(Summary.of(board).costs("mf"))
    assert [(cost["trained on"], cost["seeds"]) for cost in costs] == [("CPU", "1"), ("H200", "1")]
    Sections(Summary.of(board)).document()


def test_the_epoch_of_least_loss_is_no_last_epoch(define, put):
    board = define(digest="aaaa", selection="loss", published=[source(selection="last")])
    put("mf", 0, HALF, board=board)
    (verdict,) = verify(Summary.of(board))
    assert (verdict.status, verdict.ours) == ("not comparable", None)
    assert "the last; ours is 2 of 3" in verdict.reason


def test_a_value_that_two_sources_print_counts_once(define, filled):
    board = define(digest="aaaa", published=[source(), source(source="another paper")])
    assert count(list(verify(Summary.of(board)))) == "1 above"
    nowhere = source(source="elsewhere", digest="eeee", rows={"mf": [0.5], "simgcl": [0.4]})
    board = define(digest="aaaa", published=[nowhere, source(rows={"simgcl": [0.4]}), source(source="another paper")])
    assert count(list(verify(Summary.of(board)))) == "2 above (1 with seeds to run)"


def test_what_can_still_be_run_is_not_called_incomparable(define):
    board = define(digest="aaaa", published=[source(source="another paper", digest="eeee"), source()])
    assert count(list(verify(Summary.of(board)))) == "1 not run"


def test_of_two_comparable_sources_the_less_flattering_counts(define, filled, put):
    put("mf", 0, {"history": HALF, "train": HALF - 0.1})
    (filled.home.results("tiny") / "mf-1.json").unlink()
    board = define(digest="aaaa", published=[source(masking="train"), source(source="another paper")])
    assert [verdict.status for verdict in verify(Summary.of(board))] == ["below", "reproduced"]
    assert count(list(verify(Summary.of(board)))) == "1 below (1 with seeds to run)"


def test_the_best_stands_out_only_where_no_seed_can_change_it(filled, put):
    board_of = lambda: Sections(Summary.of(filled)).leaderboard("history")  # noqa: E731
    assert board_of().best == frozenset()  # SimGCL is best, with a seed to run
    put("simgcl", 1, HALF + 0.1)
    assert board_of().best == {(2, 1), (2, 2)}
    (filled.home.results("tiny") / "popularity-0.json").unlink()
    assert board_of().best == frozenset()  # a row was not run


def test_a_page_says_what_was_configured_after_its_test_values_were_seen(define, filled):
    rows = {name: {"title": row.title, "model": row.model} for name, row in filled.table.rows.items() if row.model}
    rows["mf"] |= {"tested_before": 1, "by_hand": 3}
    text = write_report(define(digest="aaaa", rows=rows, published=[source()]))[0].read_text()
    assert "Configured anew after test values of theirs had been seen (Configurations): MF." in text
    assert "1 earlier configuration of it had been tested" in text
    assert "configured anew after earlier test values had been seen: MF" in text
    assert "some after trainings by hand" in text
    text = write_report(define(digest="aaaa", published=[source()]))[0].read_text()
    assert "Configured anew" not in text and "by hand (Costs" not in text


def test_a_verdict_says_what_a_reader_must_know_of_the_records(define, filled, command):
    rows = {name: {"title": row.title, "model": row.model} for name, row in filled.table.rows.items() if row.model}
    rows["mf"] |= {"tested_before": 1, "outdated": "The padding was wrong"}
    text = write_report(define(digest="aaaa", rows=rows, published=[source()]))[0].read_text()
    assert "By code that was mended since: MF. The padding was wrong" in text
    output = command("verify", "tiny")[1]
    assert "1 above (1 by code that was mended since, 1 configured anew after a look at test)" in output
    assert "2 seeds; configured anew after a look at test; by code that was mended since)" in output


@pytest.mark.parametrize(("patience", "told"), [(10, False), (20, True)])
def test_unequal_patience_is_told(define, patience, told):
    rows = {
        "mf": {"model": {"kind": "mf", "embedding_size": 8}, "training": {"patience": 10}},
        "lightgcn": {"model": {"kind": "lightgcn", "embedding_size": 8}, "training": {"patience": patience}},
    }
    sections = Sections(Summary.of(define(rows=rows)))
    assert ("wait as long" in sections.budgets(["mf", "lightgcn"])) == told


def test_a_damaged_file_of_users_is_named(filled, home, command):
    path = home / "results" / "tiny" / "mf-1.npz"
    for damaged in (path.read_bytes()[:200], b"", b"nothing"):
        path.write_bytes(damaged)
        status, _, errors = command("report", "tiny")
        assert (status, "mf-1.npz: is damaged" in errors) == (1, True)


class Tags(HTMLParser):
    """Collects what a browser would fetch, and the tags that are open."""

    VOID = {"meta"}

    def __init__(self):
        super().__init__()
        self.outside, self.open, self.seen = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_sentences_of_a_page_keep_their_points_and_names():
    shown = list(html_parts(["- a `b` <c>", "d ` e", Grid(("", "n"), (("x", "1"),), "of `f`")]))
    assert shown[:2] == ["<ul><li>a <code>b</code> &lt;c&gt;</ul>", "<p>d ` e</p>"]
    assert shown[2].endswith("</table></div><figcaption>of <code>f</code></figcaption></figure>")


def test_the_page_needs_nothing_from_outside_and_escapes_names(filled, put):
    put("simgcl", 0, HALF + 0.1, slices={rule: parts() for rule in filled.table.masking})
    path = write_report(filled)[3]
    tags = Tags()
    tags.feed(path.read_text())
    assert tags.outside == []
    assert [tag for tag in tags.open if tag not in ("html", "p", "td", "th", "tr")] == []
    assert tags.seen.count("svg") == 2 + 2 + 2 + 2  # bars, curve and cost, users, items
    assert "SimGCL &amp; &lt;more&gt;" in path.read_text()
    assert "script" not in tags.seen


def parts():
    users = {name: {"users": 10, "fewest": 1, "most": 2, "ndcg@5": 0.5} for name in QUARTERS}
    items = {name: {"items": 5, "truth": 1 / 3, "recall@5": 0.2, "hits@5": 0.3, "shown@5": 1 / 3} for name in THIRDS}
    return users | items


def test_equal_records_give_equal_reports(filled):
    first = [path.read_bytes() for path in write_report(filled)]
    assert [path.read_bytes() for path in write_report(filled)] == first


def test_signs_are_escaped():
    grid = Grid(("", "a_b"), (("x|y & 5%", "1 ± 2"),), best=frozenset({(0, 1)}))
    assert markdown_grid(grid).splitlines()[2] == "| x\\|y & 5% | **1 ± 2** |"
    assert r"x\textbar{}y \& 5\% & \textbf{1 $\pm$ 2} \\" in latex(grid, "t")
    assert r" & a\_b \\" in latex(grid, "t")
    odd = Grid(("",), (('[a] "b"\n<script> 1 < 2',), (r"*c*\|",)))
    assert markdown_grid(odd).splitlines()[2:] == ['| [a] "b" &lt;script> 1 < 2 |', r"| \*c\*\\\| |"]
    # after the end of a row LaTeX would take either sign for an option
    assert re.findall(r"^\{\}\[a\] ''b''|^\{\}\*c", latex(odd, "t"), re.MULTILINE) == ["{}[a] ''b''", "{}*c"]


def test_titles_are_drawn_as_they_are(define, put):
    rows = {"mf": {"title": "_5$ to 6$", "model": {"kind": "mf", "embedding_size": 8}}}
    put("mf", 0, HALF, board=define(rows=rows))
    drawing = write_report(define(rows=rows))[3].read_text()
    # the bars, and the legends of the other drawings
    assert len(re.findall(r"<text[^>]*> ?_5\$ to 6\$</text>", drawing)) >= 3


def test_a_report_that_cannot_be_written_leaves_the_last_as_it_was(filled, monkeypatch):
    before = {path: path.read_bytes() for path in write_report(filled)}
    whole = Path.write_bytes

    def full(path, content):
        if path.name.startswith(".tiny.html"):
            raise OSError(28, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    changed = Board("tiny", replace(filled.table, title="Another"), filled.home)
    with pytest.raises(InputError, match=r"tiny\.html: cannot be written .No space left"):
        write_report(changed)
    assert {path: path.read_bytes() for path in before} == before
    assert not list(filled.home.results("tiny").parent.glob(".*"))


def test_the_list_counts_records(filled, command):
    status, output, _ = command("list")
    assert status == 0
    line = next(line for line in output.splitlines() if "A tiny world" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["tiny", "A tiny world", "3", "4", "0"]


def test_speed_measurements_become_one_page(home, command):
    status, _, errors = command("report", "speed")
    assert (status, "has no measurement" in errors) == (1, True)
    results = home / "results"
    results.mkdir()
    published = {"note": "A note.", "tables": [{"title": "A title", "rows": [{"job": "x", "s": 0.12345, "n": None}]}]}
    (results / "speed_a.json").write_text(json.dumps(published))
    nested = {"title": "", "rows": [{"job": "y", "ours": {"cpu_s": 12345.6}}]}
    (results / "speed_b.json").write_text(json.dumps({"tables": [nested]}))
    published["note"] = ""
    (results / "speed_metapath.json").write_text(json.dumps(published))
    assert command("report", "speed")[0] == 0
    text = (results / "speed.md").read_text()
    for line in (
        "## a",
        "| x | 0.1235 |  |",
        "| job | ours cpu s |",
        "| y | 12,346 |",
        "## MEOW and AdaMEOW",
    ):
        assert line in text
    assert (results / "speed.html").exists()
    mishaps = (
        ("{", "is no readable measurement"),
        ("[1]", "it holds list"),
        ('{"a": {}}', "has no tables"),
        ('{"tables": [{"title": "x"}]}', "has no tables"),
        ('{"tables": [{"title": "x", "rows": [1]}]}', "a table of it has no rows"),
    )
    for damaged, told in mishaps:
        (results / "speed_c.json").write_text(damaged)
        status, _, errors = command("report", "speed")
        assert (status, "speed_c.json: is no" in errors, told in errors) == (1, True, True), damaged
