"""The drawings of a report: every row has one colour and one mark on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.summary import Summary
from recsys.evaluation.metrics import parse
from recsys.evaluation.slices import QUARTERS, THIRDS
from recsys.report import inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINE, CONTRAST = "#9aa5b1", "#3b6fb6"
SHARES = ("#1f4e8c", "#6fa3d8", "#cfe0f1")
MARKS = "osD^vP*X<>"


@dataclass(frozen=True)
class Plots:
    """What can be drawn of the rows that have a record, by one masking rule."""

    summary: Summary
    rule: str

    @cached_property
    def rows(self) -> list[str]:
        """Those with a record, in the order of the table."""
        return [row for row in self.summary.rows if self.summary.seeds(row)]

    @property
    def monitor(self) -> str:
        """The metric that is drawn."""
        return self.summary.board.table.monitor

    def label(self, row: str) -> str:
        """The title as it is: matplotlib begins a formula at a $, and leaves out of legends what begins with _."""
        title = self.summary.title(row).replace("$", r"\$")
        return f" {title}" if title.startswith("_") else title

    def style(self, row: str) -> dict[str, Any]:
        """Colour and mark of a row, the same on every drawing."""
        return style_of(list(self.summary.rows).index(row)) | {"label": self.label(row)}

    def bars(self) -> str:
        """The monitored metric of every row on test, intervals over users, a dot for each seed."""
        drawing, axes = canvas(8.6, 1.1 + 0.36 * len(self.rows))
        names = list(reversed(self.rows))
        for place, row in enumerate(names):
            value, ends = self.summary.value(row, self.rule, self.monitor), self.summary.interval(row, self.rule)
            assert value is not None
            colour = BASELINE if self.summary.rows[row].baseline else CONTRAST
            spread = [[max(0.0, value.mean - ends[0])], [max(0.0, ends[1] - value.mean)]] if ends else None
            axes.barh(place, value.mean, xerr=spread, color=colour, height=0.68, ecolor="#222", capsize=2.5)
            if len(value.seeds) > 1:
                axes.plot(value.seeds, [place] * len(value.seeds), "o", color="white", mec="#222", ms=4, mew=0.8)
            edge = max(value.mean, *(ends or (0.0,)), *value.seeds)
            axes.annotate(f"{value.mean:.4f}", (edge, place), (5, 0), textcoords="offset points", va="center", size=8)
        axes.set_yticks(range(len(names)), [self.label(row) for row in names])
        axes.set_xlabel(f"{self.monitor} on test")
        axes.margins(x=0.1, y=0.02)
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        return inline_svg(drawing)

    def curves(self) -> str | None:
        """The monitored metric on validation over the epochs; None where no row has a curve."""
        from matplotlib.ticker import MaxNLocator

        curves = {row: curve for row in self.rows if len(curve := self.summary.curve(row)) > 1}
        if not curves:
            return None
        drawing, axes = canvas(8.6, 3.9)
        for row, curve in curves.items():
            style = self.style(row) | {"markevery": max(1, len(curve) // 8)}
            axes.plot(*zip(*curve, strict=True), linewidth=1.5, markersize=4, **style)
        axes.set(xlabel="epoch", ylabel=f"{self.monitor} on validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        legend(drawing, axes)
        return inline_svg(drawing)

    def costs(self) -> str:
        """The monitored metric on test against the time of training, up and left is better."""
        drawing, axes = canvas(8.6, 3.9)
        for row in self.rows:
            style = self.style(row)
            for machine, found in self.summary.by_machine(row).items():
                cpu = machine == "CPU"
                seconds = mean(r.spent.cpu_seconds if cpu else r.spent.wall_seconds for r in found)
                value = mean(record.test[self.rule][self.monitor] for record in found)
                filled = "full" if cpu else "none"
                axes.plot(max(seconds, 0.1), value, linestyle="none", markersize=8, fillstyle=filled, **style)
                style.pop("label", None)
        logarithmic(axes)
        clock = "CPU seconds (of those on a GPU, hollow: wall seconds)" if self.summary.on_gpu else "CPU seconds"
        axes.set(xlabel=f"{clock} of a training, with its evaluations", ylabel=f"{self.monitor} on test")
        axes.margins(0.08)
        legend(drawing, axes)
        return inline_svg(drawing)

    def users(self) -> str | None:
        """The monitored metric by activity of users."""
        found = {row: slices for row in self.rows if (slices := self.summary.slices(row, self.rule))}
        if not found:
            return None
        present = [name for name in QUARTERS if all(name in slices for slices in found.values())]
        drawing, axes = canvas(8.6, 3.9)
        for row, slices in found.items():
            values = [slices[name][self.monitor] for name in present]
            axes.plot(values, linewidth=1.2, markersize=6, **self.style(row))
        some = next(iter(found.values()))
        labels = [
            f"quarter {name.split()[1][0]}\n{span(some[name])} events\n{some[name]['users']:,.0f} users"
            for name in present
        ]
        axes.set_xticks(range(len(present)), labels)
        axes.set(ylabel=f"{self.monitor} on test")
        axes.set_ylim(bottom=0)
        legend(drawing, axes)
        return inline_svg(drawing)

    def items(self) -> str | None:
        """By popularity of items: what is found again, and what is shown."""
        found = {row: slices for row in self.rows if THIRDS[0] in (slices := self.summary.slices(row, self.rule))}
        if not found:
            return None
        k = parse(self.monitor)[1]
        drawing, (left, right) = panels(9.4, 1.6 + 0.34 * len(found))
        names = list(reversed(found))
        some = next(iter(found.values()))
        rows = [{name: found[row][name][f"shown@{k}"] for name in THIRDS} for row in names]
        rows.append({name: some[name]["truth"] for name in THIRDS})
        labels = [*map(self.label, names), "true items"]
        stack(right, rows, labels)
        right.set_xlabel(f"share of the places in the lists of {k}")
        for number, name in enumerate(THIRDS):
            recalls = [found[row][name].get(f"recall@{k}", 0.0) for row in names]
            left.plot(recalls, range(len(names)), "o", color=SHARES[number], mec="#1f4e8c", mew=0.6, ms=7)
        left.set_yticks(range(len(rows)), labels)
        left.set_xlabel(f"recall@{k} of the true items of each third")
        left.margins(x=0.06)
        left.set_xlim(left=min(0.0, left.get_xlim()[0]))
        right.tick_params(labelleft=False)
        third = [f"{name.removeprefix('items ')} ({some[name]['items']:,.0f} items)" for name in THIRDS]
        handles = [bars[0] for bars in right.containers]
        drawing.legend(handles, third, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
        return inline_svg(drawing)


def style_of(number: int) -> dict[str, Any]:
    """Colour and mark of the row of that number, unlike those of the twenty around it."""
    from matplotlib import colormaps

    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    # tab20 pairs a dark with a light tone: dark ones first, so that neighbours in the legend are far apart
    return {"color": colours[(2 * number) % 20 + (number // 10) % 2], "marker": MARKS[number % len(MARKS)]}


def span(part: dict[str, float]) -> str:
    """The training events of a quarter's users."""
    low, high = int(part["fewest"]), int(part["most"])
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def stack(axes: "Axes", rows: Sequence[dict[str, float]], labels: Sequence[str]) -> None:
    """Bars that add up to 1, one a row."""
    start = [0.0] * len(rows)
    for number, name in enumerate(THIRDS):
        width = [row[name] for row in rows]
        axes.barh(range(len(rows)), width, left=start, color=SHARES[number], height=0.68)
        start = [a + b for a, b in zip(start, width, strict=True)]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")


def canvas(width: float, height: float) -> tuple["Figure", "Axes"]:
    """An empty drawing with one plain pair of axes."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    return drawing, plain(drawing.add_subplot())


def panels(width: float, height: float) -> tuple["Figure", tuple["Axes", "Axes"]]:
    """An empty drawing with two panels that share their rows."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    return drawing, (plain(left), plain(right))


def plain(axes: "Axes") -> "Axes":
    """Without frame, with a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return axes


def logarithmic(axes: "Axes") -> None:
    """A logarithmic x axis with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend(drawing: "Figure", axes: "Axes") -> None:
    """Beside the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
