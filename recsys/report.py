"""One self-contained HTML page about a run: results, curves, configuration, environment."""

import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from graphcl.errors import InputError
from graphcl.training.checkpoint import write_atomically
from recsys import folder as files
from recsys.evaluation.metrics import PER_USER, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 960px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.15em; margin-top: 2em }
.lead { color: #666; margin-top: .2em }
table { border-collapse: collapse } th, td { padding: .3em .9em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } tr.ours { font-weight: 600 }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 13px } svg { max-width: 100%; height: auto }
"""
COLLAPSE = (
    "Vectors collapse where uniformity rises to 0 or the effective rank falls to 1; alignment is the distance of users "
    "to their items, 0 where they are one. A term whose share of the gradient is near 0 does nothing."
)


def write_report(folder: Path) -> None:
    """Write `report.html` into the folder of a finished run."""
    write_atomically(folder / files.REPORT, page(folder).encode())


def page(folder: Path) -> str:
    """The page as HTML; it needs nothing from outside."""
    records = files.MetricsFile(folder).read()
    result = files.read_json(folder / files.RESULT)
    if not result:
        raise InputError(f"{folder}: has no {files.RESULT}; the training has not ended, go on with --resume")
    environment = files.read_json(folder / files.ENVIRONMENT)
    config = (folder / files.CONFIG).read_text()
    data = environment.get("data", {})
    model = result["model"]
    title = f"{model} on {data.get('dataset', 'data')}"
    lead = (
        f"best epoch {result['best_epoch']} of 0..{result['last_epoch']}, stopped by {result['cause']}; "
        + "; ".join(f"{what}: {value}" for what, value in result["protocol"].items())
        + f"; split {result['data']}"
    )
    sections = [
        f"<h1>{html.escape(title)}</h1><p class=lead>{html.escape(lead)}</p>",
        results_table({"popularity": result["popularity"], model: result["test"]}, ours=model),
        *(f"<p>{html.escape(advice)}</p>" for advice in [below_floor(result, records)] if advice),
        *curves(records),
        *(
            f"<h2>{name}</h2><pre>{html.escape(text)}</pre>"
            for name, text in (
                ("Data", yaml.safe_dump(data, sort_keys=False, allow_unicode=True)),
                ("Configuration", config),
                ("Environment", json.dumps(environment, indent=2)),
            )
        ),
    ]
    return whole_page(title, STYLE, "".join(sections))


def below_floor(result: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for a trained model that is no better than recommending what is popular; "" for any other."""
    test, floor = result["test"], result["popularity"]
    beaten = [name for name in test if parse(name)[0] in PER_USER and test[name] <= floor[name]]
    if not beaten or not series(records, "losses"):
        return ""
    return (
        f"{result['model']} is no better than popularity in {', '.join(beaten)}. It may have been trained too briefly, "
        f"or one term of its loss drowns the others (the report shows their shares of the gradient): try a smaller "
        f"weight of the contrast, another learning rate, or recsys tune."
    )


def whole_page(title: str, style: str, body: str) -> str:
    """A page of its own around `body`, which is HTML; nothing in it is fetched from elsewhere."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{style}</style>{body}</html>"
    )


def results_table(rows: Mapping[str, Mapping[str, float]], ours: str) -> str:
    """Models down, metrics across."""
    names = list(next(iter(rows.values())))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["model", *names])
    body = "".join(
        f"<tr{' class=ours' if model == ours else ''}><td>{html.escape(model)}</td>"
        + "".join(f"<td>{metrics[name]:.4f}</td>" for name in names)
        + "</tr>"
        for model, metrics in rows.items()
    )
    return f"<h2>Test</h2><table><tr>{head}</tr>{body}</table>"


def curves(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The losses by name and the validation metrics, over epochs; nothing for a closed form."""
    sections = []
    losses = series(records, "losses")
    if losses:
        norm = {"gradient norm": [(r["epoch"], r["gradient_norm"]) for r in records if "gradient_norm" in r]}
        sections.append("<h2>Training</h2>" + figure([("loss, by term", losses), ("gradient norm", norm)]))
    spread = series(records, "collapse")
    if spread:
        ranks = {name: spread.pop(name) for name in list(spread) if name.endswith("effective_rank")}
        panels = [("alignment, uniformity", spread), ("effective rank", ranks)]
        panels.append(("share of the gradient, by term", series(records, "gradient_shares")))
        sections.append(f"<h2>Collapse monitor</h2><p>{html.escape(COLLAPSE)}</p>" + figure(panels))
    metrics = series(records, "metrics")
    if metrics and len(records) > 1:
        sections.append("<h2>Validation</h2>" + figure([("", metrics)]))
    return sections


def series(records: Sequence[Mapping[str, Any]], block: str) -> dict[str, list[tuple[int, float]]]:
    """The values in `block` of each record, by name: [(epoch, value), ...]."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record.get(block, {}).items():
            found.setdefault(name, []).append((record["epoch"], value))
    return found


def figure(panels: Sequence[tuple[str, Mapping[str, Sequence[tuple[int, float]]]]]) -> str:
    """Line charts side by side, as inline SVG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    drawing = Figure(figsize=(4.6 * max(2, len(panels)), 3.2), layout="constrained")
    for axes, (title, lines) in zip(drawing.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, points in lines.items():
            label = name.replace("_", " ")
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.6, marker="." if len(points) < 3 else None)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
    return inline_svg(drawing)


def inline_svg(drawing: "Figure") -> str:
    """A drawing as an element of a page, its words as text that can be read aloud and searched.

    Equal drawings give equal text.
    """
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.hashsalt": "recsys", "svg.fonttype": "none"}):
        drawing.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
