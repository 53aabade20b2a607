"""The drawings of the `metapath` page."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.metapath import Row
from benchmarks.metapath_record import Made, Record
from benchmarks.report_plots import BASELINE, CONTRAST, canvas, legend, logarithmic, style_of
from recsys.report import inline_svg

MEASURE = "macro_f1@60"
NEW = ("MEOW", "AdaMEOW")


def bars_of(made: Made) -> str:
    """A bar for each row, its deviation over seeds, and a dot for each seed."""
    rows = [(row, [record.rules["last"].get(MEASURE) for record in records]) for row, records in made]
    found = [(row, [value for value in values if value is not None]) for row, values in rows]
    shown = [(row, values) for row, values in reversed(found) if values]
    drawing, axes = canvas(8.6, 0.9 + 0.3 * len(shown))
    for place, (row, values) in enumerate(shown):
        mean = statistics.fmean(values)
        own = row.embedder.__name__ in NEW
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        axes.barh(place, mean, xerr=spread or None, color=CONTRAST if own else BASELINE, height=0.62, ecolor="#222")
        axes.plot(values, [place] * len(values), "o", color="white", mec="#222", ms=4, mew=0.8)
        axes.annotate(
            f"{mean:.1f}",
            (max([*values, mean + spread]), place),
            (5, 0),
            textcoords="offset points",
            va="center",
            size=8,
        )
    axes.set_yticks(range(len(shown)), [row.settings.title for row, _ in shown])
    axes.set_xlabel("Macro-F1, 60 labels per class")
    axes.margins(x=0.08, y=0.02)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    return inline_svg(drawing)


def curves_of(made: Made) -> Iterator[tuple[str, str]]:
    """(data set, drawing) of the probe on validation nodes over the epochs."""
    by_data: dict[str, list[tuple[Row, Sequence[Record]]]] = defaultdict(list)
    for row, records in made:
        by_data[row.settings.title.split(",")[0]].append((row, records))
    for name, rows in by_data.items():
        drawing, axes = canvas(8.6, 3.6)
        for number, (row, records) in enumerate(rows):
            points: dict[float, list[float]] = defaultdict(list)
            for record in records:
                for point in record.curve:
                    points[point["epoch"]].append(point["valid_macro_f1"])
            curve = [(epoch, statistics.fmean(values)) for epoch, values in sorted(points.items())]
            if curve:
                label = row.settings.title.removeprefix(f"{name}, ")
                axes.plot(*zip(*curve, strict=True), markersize=4, label=label, **style_of(number))
        logarithmic(axes)
        axes.set(xlabel="epoch", ylabel="Macro-F1 on validation nodes")
        legend(drawing, axes)
        yield name, inline_svg(drawing)
