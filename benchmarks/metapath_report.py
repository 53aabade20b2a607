"""The page of the `metapath` table: each row beside published values and re-runs, for each rule that names an epoch."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.metapath import Row
from benchmarks.metapath_run import NAME, load_rows, records_of
from benchmarks.report_document import ABSENT, Document, Grid, Section, markdown
from graphcl.training.checkpoint import write_atomically
from recsys.config import build, read

RULES: Mapping[str, str] = {"last": "last epoch", "loss": "lowest training loss", "valid": "best validation probe"}
COUNTS = (20, 40, 60)
MEASURES: Mapping[str, str] = {
    **{f"macro_f1@{count}": f"Macro-F1 {count}" for count in COUNTS},
    **{f"micro_f1@{count}": f"Micro-F1 {count}" for count in COUNTS},
    **{f"auc@{count}": f"AUC {count}" for count in COUNTS},
    "nmi": "NMI",
    "ari": "ARI",
}
"""As a record calls them: as the page does."""
WITHIN = 0.5
"""Points below a bar that still count as reached."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Values of another source; None where it has none."""

    title: str
    source: str
    macro_f1: tuple[float | None, ...]
    micro_f1: tuple[float | None, ...]
    auc: tuple[float | None, ...]
    nmi: float | None = None
    ari: float | None = None

    @property
    def values(self) -> tuple[float | None, ...]:
        """In the order of MEASURES."""
        return (*self.macro_f1, *self.micro_f1, *self.auc, self.nmi, self.ari)


def write_report(root: Path) -> Path:
    """Write `results/metapath.md` from the records; returns its path."""
    bars = {name: build(Bar, tree, name) for name, tree in read(Path(__file__).with_name("metapath_bars.yaml")).items()}
    made = [(row, list(records_of(root, row))) for row in load_rows(root)]
    path = root / "results" / f"{NAME}.md"
    timed = root / "results" / "speed_metapath.json"
    timings = json.loads(timed.read_text()) if timed.exists() else None
    footer = f"Written by `python -m benchmarks report {NAME}` from the records in `{NAME}/`."
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, markdown(document(made, bars, timings), footer).encode())
    return path


Made = Sequence[tuple[Row, Sequence[Mapping[str, Any]]]]


def document(made: Made, bars: Mapping[str, Bar], timings: Mapping[str, Mapping[str, float]] | None = None) -> Document:
    """The whole page; `timings` is what `benchmarks.speed_metapath` has measured."""
    lead = (
        "Percent, mean ± standard deviation over trainings of different seeds (none where there is one). Each "
        "training is judged by 50 linear probes on 20, 40 and 60 labels per class of HeCo's splits and by ten k-means "
        "of all nodes; test nodes are looked at once for each rule that names an epoch, and chose nothing. A rule "
        "that names the same epochs as the one above it is left out."
    )
    measured = [Section("Speed and memory", speed(timings))] if timings else []
    return Document(
        "Heterogeneous graphs: node classification and clustering",
        lead,
        [
            *(Section(row.settings.title, list(parts(row, records, bars))) for row, records in made),
            Section("Weights of AdaMEOW's pairs", [spread(made)]),
            Section("Cost", [cost(made)]),
            *measured,
        ],
    )


def parts(row: Row, records: Sequence[Mapping[str, Any]], bars: Mapping[str, Bar]) -> Iterator[str | Grid]:
    """What stands below a row's heading."""
    if row.settings.note:
        yield row.settings.note
    lines: list[tuple[str, ...]] = []
    seen: list[list[int]] = []
    for rule, words in RULES.items():
        epochs = [record["rules"][rule]["epoch"] for record in records]
        if records and epochs not in seen:
            seen.append(epochs)
            lines.append((f"ours, {words} ({numbers(epochs)})", *(measured(records, rule, name) for name in MEASURES)))
    if not records:
        lines.append(("ours", *[ABSENT] * len(MEASURES)))
    for name in row.settings.bars:
        bar = bars[name]
        lines.append((bar.title, *("" if value is None else f"{value:.2f}" for value in bar.values)))
        if records:
            lines.append(("ours, last epoch, less that", *differences(records, bar)))
    yield Grid(("", *MEASURES.values()), tuple(lines), f"{len(records)} of {row.settings.seeds} seeds")
    for name in row.settings.bars:
        yield f"- {bars[name].title}: {bars[name].source}. {verdict(records, bars[name])}"


def values_of(records: Sequence[Mapping[str, Any]], rule: str, name: str) -> list[float]:
    """One value per seed."""
    return [record["rules"][rule][name] for record in records]


def measured(records: Sequence[Mapping[str, Any]], rule: str, name: str) -> str:
    """Mean and deviation over seeds."""
    values = values_of(records, rule, name)
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def gaps(records: Sequence[Mapping[str, Any]], bar: Bar) -> list[float | None]:
    """Our mean at the last epoch less each value of a bar."""
    ours = [statistics.fmean(values_of(records, "last", name)) for name in MEASURES]
    return [None if theirs is None else mean - theirs for mean, theirs in zip(ours, bar.values, strict=True)]


def differences(records: Sequence[Mapping[str, Any]], bar: Bar) -> list[str]:
    """The gaps in words; those of more than WITHIN points below stand out."""
    cells = []
    for gap in gaps(records, bar):
        text = "" if gap is None else f"{gap:+.2f}"
        cells.append(f"**{text}**" if gap is not None and gap < -WITHIN else text)
    return cells


def verdict(records: Sequence[Mapping[str, Any]], bar: Bar) -> str:
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


def spread(made: Made) -> Grid:
    """How the pair weights fare while training, of the first seed of each AdaMEOW row."""
    lines = []
    for row, records in made:
        for record in records[:1]:
            points = [point for point in record["curve"] if "weight_mean" in point]
            for point in points[:1] + points[len(points) // 2 : len(points) // 2 + 1] + points[-1:]:
                cells = (point["weight_mean"], point["weight_std"], point["weight_row_std"], point["loss"])
                lines.append((row.settings.title, f"{point['epoch']:.0f}", *(f"{value:.4f}" for value in cells)))
    caption = (
        "First seed. Nothing anchors the weights of the published form: their mean falls, and the training loss with "
        "it by a constant, which says nothing about the vectors. Scaled to mean 1 per row in the loss, they may drift "
        "without effect."
    )
    return Grid(("", "epoch", "mean weight", "sd over pairs", "sd over rows' means", "loss"), tuple(lines), caption)


def cost(made: Made) -> Grid:
    """Seconds and memory."""
    lines = []
    for row, records in made:
        if records:
            per_epoch = statistics.fmean(record["train_cpu_seconds"] / record["epochs"] for record in records)
            total = statistics.fmean(record["train_cpu_seconds"] for record in records)
            prepare = statistics.fmean(record["prepare_cpu_seconds"] for record in records)
            memory = max(record["peak_memory_mib"] for record in records)
            epochs = str(records[0]["epochs"])
            lines.append(
                (row.settings.title, f"{prepare:.1f}", epochs, f"{per_epoch:.2f}", f"{total:.0f}", f"{memory:,}")
            )
    header = ("", "preparation, CPU s", "epochs", "CPU s per epoch", "training, CPU s", "peak memory, MiB")
    return Grid(
        header, tuple(lines), "One thread; the looks at validation nodes are counted in, the final judging is not."
    )


SINGLE: Mapping[str, str] = {
    "meow_ours": "MEOW on ACM, an epoch",
    "meow_dense": "the same from dense matrices",
    "pair_ours": "AdaMEOW's pair weights, loss and gradients, 2000 rows",
    "pair_dense": "the same from all pairs' sums",
    "adameow_ours": "AdaMEOW on ACM, an epoch",
    "preprocessing": "DBLP, from edges to all that MEOW reads",
    "probe": "fifty probes of one ratio on ACM",
}


def speed(timings: Mapping[str, Mapping[str, float]]) -> list[str | Grid]:
    """What `benchmarks.speed_metapath` has measured: single tasks, and how the models grow."""
    lines = [
        (title, f"{timings[name]['cpu_seconds']:.2f}", f"{timings[name]['mib']:,.0f}")
        for name, title in SINGLE.items()
        if name in timings
    ]
    curve = []
    for name, found in timings.items():
        if name.startswith("scale_"):
            _, model, nodes = name.split("_")
            cells = (found["build_cpu_seconds"], found["step_cpu_seconds"], found["peak_gib"])
            curve.append((model, f"{int(nodes):,}", f"{10 * int(nodes):,}", *(f"{value:.2f}" for value in cells)))
    return [
        Grid(
            ("", "CPU s", "MiB"),
            tuple(lines),
            "One thread of a shared machine; memory above that of a process with the data read.",
        ),
        Grid(
            ("model", "target nodes", "edges", "building, CPU s", "step, CPU s", "peak GiB"),
            tuple(sorted(curve, key=lambda line: (line[0], int(line[1].replace(",", ""))))),
            "Synthetic graphs; batches of 2048 nodes, sampled neighbours, negatives of the batch; peak of the process.",
        ),
    ]
