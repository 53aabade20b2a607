"""A picture of a view: some users and their items before and after, degrees, and what the view changed."""

import io
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphcl.errors import InputError
from graphcl.evaluation.views import row_cosine
from graphcl.training.checkpoint import write_atomically
from graphcl.views.structure import undirected_keys
from recsys.view_diagnosis import Diagnosis, degrees

if TYPE_CHECKING:
    from matplotlib.axes import Axes

USERS_SHOWN, ITEMS_SHOWN = 10, 24
KEPT, LOST, NEW = "#7a869a", "#d1495b", "#2e86ab"


def draw(diagnosis: Diagnosis, path: Path) -> None:
    """Write the picture of the first drawn view; the ending of `path` (svg, png) says how.

    Raises:
        InputError: the folder cannot be made, or the file not be written.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(14, 4.6), layout="constrained")
    sample, spread, change = drawing.subplots(1, 3, width_ratios=[1.25, 1, 1])
    drawing.suptitle(fill(diagnosis.title, 150, break_long_words=False), fontsize=10)
    draw_sample(sample, diagnosis)
    draw_degrees(spread, diagnosis)
    draw_change(change, diagnosis)
    for axes in (spread, change):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    picture = io.BytesIO()
    drawing.savefig(picture, format=path.suffix.removeprefix("."), dpi=130)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made ({error.strerror}); name a writable folder") from error
    write_atomically(path, picture.getvalue())


def draw_sample(axes: "Axes", diagnosis: Diagnosis) -> None:
    """Users on the left, items on the right; edges that the view keeps, loses and adds among them."""
    users, items = chosen(diagnosis)
    place = {user: (0.0, 1 - row / max(1, len(users) - 1)) for row, user in enumerate(users)}
    place |= {item: (1.0, 1 - row / max(1, len(items) - 1)) for row, item in enumerate(items)}
    before, after = (edges_among(graph, place) for graph in (diagnosis.graph, diagnosis.views[0]))
    heaviest = max(after.values(), default=1.0) or 1.0
    for edge in before.keys() - after.keys():
        axes.plot(*path_of(place[edge[0]], place[edge[1]]), color=LOST, linewidth=0.8, linestyle=(0, (2, 2)))
    for edge, weight in after.items():
        color = KEPT if edge in before else NEW
        axes.plot(*path_of(place[edge[0]], place[edge[1]]), color=color, linewidth=0.3 + 1.3 * abs(weight) / heaviest)
    for nodes, side in ((users, "users"), (items, "items")):
        across = 0.0 if side == "users" else 1.0
        axes.scatter([across] * len(nodes), [place[node][1] for node in nodes], s=22, color="#222", zorder=3)
        axes.text(across, 1.06, f"{len(nodes)} {side}", ha="center", fontsize=9)
    for color, name, style in ((KEPT, "kept", "-"), (LOST, "lost", "--"), (NEW, "new", "-")):
        axes.plot([], [], color=color, label=name, linestyle=style)
    axes.legend(frameon=False, fontsize=8, loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.1))
    axes.set(xlim=(-0.25, 1.25), ylim=(-0.05, 1.12))
    axes.axis("off")


def chosen(diagnosis: Diagnosis) -> tuple[list[int], list[int]]:
    """Some users of ordinary activity, and some of the items that they share most."""
    generator = torch.Generator().manual_seed(diagnosis.settings.seed)
    activity = degrees(diagnosis.graph)
    active = activity[: diagnosis.num_users].nonzero().flatten()
    if not len(active):
        return [], []
    middle = activity[active].double().median()
    near = active[(activity[active] - middle).abs().argsort(stable=True)[: 20 * USERS_SHOWN]]
    users = near[torch.randperm(len(near), generator=generator)[:USERS_SHOWN]].sort().values
    row, col = diagnosis.graph.edge_index
    touched, times = col[torch.isin(row, users)].unique(return_counts=True)
    items = touched[times.argsort(descending=True, stable=True)[:ITEMS_SHOWN]].sort().values
    return users.tolist(), items.tolist()


def edges_among(graph: Data, nodes: dict[int, Any]) -> dict[tuple[int, int], float]:
    """Undirected edge -> weight, among some nodes; without loops."""
    wanted = torch.tensor(sorted(nodes), dtype=torch.long)
    row, col = graph.edge_index
    inside = (torch.isin(row, wanted) & torch.isin(col, wanted) & (row != col)).nonzero().flatten()
    weight = graph.get("edge_weight")
    values = torch.ones(len(inside)) if weight is None else weight[inside]
    keys = undirected_keys(graph.edge_index[:, inside], graph.num_nodes).tolist()
    return {divmod(key, graph.num_nodes): value for key, value in zip(keys, values.tolist(), strict=True)}


def path_of(start: tuple[float, float], end: tuple[float, float]) -> tuple[list[float], list[float]]:
    """A straight line across, or an arc outside where both ends are on one side."""
    if start[0] != end[0]:
        return [start[0], end[0]], [start[1], end[1]]
    bend = (0.06 + 0.14 * abs(start[1] - end[1])) * (1 if start[0] else -1)
    steps = [step / 16 for step in range(17)]
    across = [start[0] + 4 * bend * step * (1 - step) for step in steps]
    return across, [start[1] + (end[1] - start[1]) * step for step in steps]


def draw_degrees(axes: "Axes", diagnosis: Diagnosis) -> None:
    """How many nodes have at least so many neighbours."""
    before, after = degrees(diagnosis.graph), degrees(diagnosis.views[0])
    sides = {"users": slice(None, diagnosis.num_users), "items": slice(diagnosis.num_users, None)}
    for (name, side), color in zip(sides.items(), (KEPT, NEW), strict=True):
        for degree, style, which in ((before, "--", "graph"), (after, "-", "view")):
            ordered = degree[side][degree[side] > 0].sort(descending=True).values
            if len(ordered):
                axes.loglog(ordered.tolist(), range(1, len(ordered) + 1), style, color=color, label=f"{name}, {which}")
    axes.set(title="degrees", xlabel="at least so many neighbours", ylabel="nodes")
    axes.legend(frameon=False, fontsize=8)


def draw_change(axes: "Axes", diagnosis: Diagnosis) -> None:
    """Weights of edges, else how far vectors turned, else how many neighbours each node kept."""
    before, after = diagnosis.graph, diagnosis.views[0]
    weight = after.get("edge_weight")
    if weight is not None and len(weight):
        histogram(axes, weight, "weights of the edges left", "weight")
    elif bool((before.x != after.x).any()):
        histogram(axes, row_cosine(before.x, after.x), "vectors before and after", "cosine")
    else:
        had = degrees(before)
        share = (degrees(after)[had > 0] / had[had > 0]).double()
        histogram(axes, share, "neighbours after over neighbours before", "ratio of degrees")


def histogram(axes: "Axes", values: Tensor, title: str, label: str) -> None:
    """How values spread."""
    axes.hist(values.detach().flatten().tolist(), bins=40, color=KEPT)
    axes.set(title=title, xlabel=label, ylabel="count")
