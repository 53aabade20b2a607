"""The report of the `metapath` table: rows beside published values and re-runs, for each rule that names an epoch."""

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks import report_speed
from benchmarks.metapath import RULES, Row
from benchmarks.metapath_costs import cost, origins, spread
from benchmarks.metapath_plots import bars_of, curves_of
from benchmarks.metapath_record import COUNTS, MEASURES, Made, Record, records_of
from benchmarks.metapath_run import NAME, load_rows, refuse_no_rows
from benchmarks.report_document import ABSENT, Document, Figure, Grid, Part, Section, latex, markdown, page, write
from benchmarks.summary import Value
from benchmarks.verify import UNFINISHED, Status, Verdict, in_words
from graphcl.errors import InputError, suggest
from recsys.config import build, read

WORDS: Mapping[str, str] = {"last": "last epoch", "loss": "lowest training loss", "valid": "best validation probe"}
BARS = "metapath_bars.yaml"
WITHIN = 0.5
"""Points below a bar that still count as reached."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Values of another source; None where it has none."""

    title: str
    source: str
    epoch: Literal["last", "loss"] | None = None
    """The rule by which the source chose its epoch, and by which ours is chosen beside it; ~ if it does not say."""
    macro_f1: tuple[float | None, ...]
    micro_f1: tuple[float | None, ...]
    auc: tuple[float | None, ...]
    nmi: float | None = None
    ari: float | None = None
    not_comparable: str = ""
    """Why else these values must not stand beside ours; empty if they may."""

    def __post_init__(self) -> None:
        for name in ("macro_f1", "micro_f1", "auc"):
            if len(given := getattr(self, name)) != len(COUNTS):
                raise InputError(f"{name}: has {len(given)} values, not one for each of {COUNTS} labels per class")

    @property
    def values(self) -> tuple[float | None, ...]:
        """In the order of MEASURES."""
        return (*self.macro_f1, *self.micro_f1, *self.auc, self.nmi, self.ari)

    def obstacle(self, row: Row) -> str:
        """Why these values must not stand beside a row; empty if they may."""
        unknown = "the source does not say how the epoch was chosen" if self.epoch is None else ""
        return row.settings.differs or self.not_comparable or unknown

    def listed(self) -> str:
        """Its values in a sentence."""
        found = [f"{name} {value:.2f}" for name, value in zip(MEASURES.values(), self.values, strict=True) if value]
        return ", ".join(found)


def load_bars(root: Path, rows: Sequence[Row]) -> dict[str, Bar]:
    """Every bar there is, of `metapath_bars.yaml`.

    Raises:
        InputError: a row names one that is not there.
    """
    path = root / BARS
    tree = read(path) if path.exists() else {}
    for row in rows:
        for name in row.settings.bars:
            if name not in tree:
                raise InputError(f"{row.name}.bars: {name!r} is not in {path}{suggest(name, tree)}")
    return {name: build(Bar, block, name) for name, block in tree.items()}


def values_beside(root: Path, rows: Sequence[Row]) -> int:
    """How many values of others stand beside the rows; no record is read for it."""
    bars = load_bars(root, rows)
    return sum(value is not None for row in rows for name in row.settings.bars for value in bars[name].values)


def load(root: Path) -> tuple[Made, dict[str, Bar]]:
    """Rows with their records, and bars.

    Raises:
        InputError: a row is wrong, or a record is damaged or does not fit its row.
    """
    rows = load_rows(root)
    refuse_no_rows(root, rows)
    records = records_of(root / "results" / NAME, rows)
    return [(row, records[row.name]) for row in rows], load_bars(root, rows)


def write_report(root: Path) -> list[Path]:
    """Write `results/metapath.md`, `.csv`, `.tex` and `.html` from the records; returns their paths."""
    made, bars = load(root)
    place = root / "results" / NAME
    timed = place.with_name("speed_metapath.json")
    whole = document(made, bars, list(report_speed.parts(report_speed.read(timed))) if timed.exists() else [])
    footer = f"Written by `python -m benchmarks report {NAME}` from the records in `{NAME}/`."
    return write(place, md=markdown(whole, footer), csv=values(made), tex=latex(overview(made), NAME), html=page(whole))


def verify(root: Path) -> Iterator[Verdict]:
    """A verdict on every value of every bar, at the epoch of the bar's rule; reproduced means within half a point."""
    made, bars = load(root)
    for row, records in made:
        for bar in (bars[name] for name in row.settings.bars):
            for name, theirs in zip(MEASURES, bar.values, strict=True):
                if theirs is not None:
                    yield judge(row, records, name, theirs, bar)


def judge(row: Row, records: Sequence[Record], name: str, theirs: float, bar: Bar) -> Verdict:
    """What we can say of one value."""
    known = partial(Verdict, row.name, MEASURES[name], theirs, f"{bar.title}: {bar.source}", word="theirs")
    reason = bar.obstacle(row)
    if reason or bar.epoch is None:
        return known("not comparable", reason)
    found = values_of(records, bar.epoch, name)
    if not found:
        return known("not run", "no record of this row")
    gap = statistics.fmean(found) - theirs
    status: Status = "reproduced" if abs(gap) <= WITHIN else "above" if gap > 0 else "below"
    done, wanted = len(found), row.settings.seeds
    told = f"{gap:+.2f} points, {in_words(done, wanted)}"
    return known(status, told, Value(tuple(found)), remarks=(UNFINISHED,) if done < wanted else ())


def values(made: Made) -> str:
    """A line for each measure of each row by each rule."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "rule", "measure", "mean", "sd", "seeds"])
    for row, records in made:
        for rule in RULES:
            for name in MEASURES:
                if found := values_of(records, rule, name):
                    sd = f"{statistics.stdev(found):.4f}" if len(found) > 1 else ""
                    writer.writerow([row.name, rule, name, f"{statistics.fmean(found):.4f}", sd, len(found)])
    return text.getvalue()


def document(made: Made, bars: Mapping[str, Bar], timings: Sequence[Part] = ()) -> Document:
    """The whole page; `timings` is what `benchmarks.speed metapath` has measured."""
    lead = (
        "Percent, mean ± standard deviation over trainings of different seeds (none where there is one). Each "
        "training is judged by 50 linear probes on 20, 40 and 60 labels per class of HeCo's splits and by ten k-means "
        "of all nodes; test nodes are looked at once for each rule that names an epoch, and chose nothing. A rule "
        "that names the same epochs as the one above it is left out."
    )
    measured = [Section("Speed and memory", timings)] if timings else []
    return Document(
        "Heterogeneous graphs: node classification and clustering",
        lead,
        [
            Section("Overview", [overview(made), *figures(made)]),
            *(Section(row.settings.title, list(parts(row, records, bars))) for row, records in made),
            Section("Weights of AdaMEOW's pairs", [spread(made)]),
            Section("Cost", [cost(made)]),
            Section("Where the records come from", [origins(made)]),
            *measured,
        ],
    )


def overview(made: Made) -> Grid:
    """Every row at its last epoch."""
    names = [f"macro_f1@{count}" for count in COUNTS] + ["nmi", "ari"]
    lines = [
        (
            row.settings.title,
            *(measured(records, "last", name) if records else ABSENT for name in names),
            seeds_of(row, records),
        )
        for row, records in made
    ]
    return Grid(("", *(MEASURES[name] for name in names), "seeds"), tuple(lines), "Percent, at the last epoch.")


def figures(made: Made) -> list[Figure]:
    """Bars of all rows, and the probes of validation nodes while they trained."""
    found = [(row, records) for row, records in made if records]
    if not found:
        return []
    drawn = [
        Figure(bars_of(found), "Macro-F1 on 60 labels per class, last epoch: mean and standard deviation; dots: seeds.")
    ]
    drawn += [
        Figure(svg, f"{name}: Macro-F1 of the probe on validation nodes, mean over seeds.")
        for name, svg in curves_of(found)
    ]
    return drawn


def parts(row: Row, records: Sequence[Record], bars: Mapping[str, Bar]) -> Iterator[str | Grid]:
    """What stands below a row's heading."""
    if row.settings.note:
        yield row.settings.note
    lines: list[tuple[str, ...]] = []
    short: set[tuple[int, int]] = set()
    seen: list[list[int]] = []
    for rule, words in WORDS.items():
        epochs = [int(record.rules[rule]["epoch"]) for record in records]
        if records and epochs not in seen:
            seen.append(epochs)
            lines.append((f"ours, {words} ({numbers(epochs)})", *(measured(records, rule, name) for name in MEASURES)))
    if not records:
        lines.append(("ours", *[ABSENT] * len(MEASURES)))
    for name in row.settings.bars:
        bar = bars[name]
        if bar.epoch is None or bar.obstacle(row):
            continue
        lines.append((bar.title, *("" if value is None else f"{value:.2f}" for value in bar.values)))
        if records:
            found = gaps(records, bar)
            short |= {(len(lines), column) for column, gap in enumerate(found, 1) if gap is not None and gap < -WITHIN}
            cells = ("" if gap is None else f"{gap:+.2f}" for gap in found)
            lines.append((f"ours, {WORDS[bar.epoch]}, less that", *cells))
    yield Grid(("", *MEASURES.values()), tuple(lines), f"{seeds_of(row, records)} seeds", frozenset(short))
    for name in row.settings.bars:
        bar = bars[name]
        reason = bar.obstacle(row)
        told = f"Not comparable: {reason}. {bar.listed()}." if reason else verdict(records, bar)
        yield f"- {bar.title}: {bar.source}. {told}"


def seeds_of(row: Row, records: Sequence[Record]) -> str:
    """How many of the seeds that a row should have were run."""
    return f"{len(records)} of {row.settings.seeds}" if len(records) < row.settings.seeds else str(len(records))


def values_of(records: Sequence[Record], rule: str, name: str) -> list[float]:
    """One value per seed."""
    return [record.rules[rule][name] for record in records if name in record.rules[rule]]


def measured(records: Sequence[Record], rule: str, name: str) -> str:
    """Mean and deviation over seeds."""
    values = values_of(records, rule, name)
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def gaps(records: Sequence[Record], bar: Bar) -> list[float | None]:
    """Our mean at the epoch of a bar's rule less each of its values."""
    assert bar.epoch is not None  # a bar that does not say has an obstacle, and stands beside nothing
    ours = [values_of(records, bar.epoch, name) for name in MEASURES]
    return [
        None if theirs is None or not found else statistics.fmean(found) - theirs
        for found, theirs in zip(ours, bar.values, strict=True)
    ]


def verdict(records: Sequence[Record], bar: Bar) -> str:
    """How many values are reached."""
    if not records:
        return ""
    found = [gap for gap in gaps(records, bar) if gap is not None]
    reached = sum(gap >= -WITHIN for gap in found)
    return f"{reached} of {len(found)} values are within {WITHIN} point or better."


def numbers(epochs: Sequence[int]) -> str:
    """`epoch 120`, or `epochs 80, 100, 120`."""
    distinct = sorted(set(epochs))
    return f"epoch{'s' if len(distinct) > 1 else ''} {', '.join(map(str, distinct))}"
