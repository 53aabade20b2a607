"""What the views of a configuration do to the user-item graph of a data set."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from itertools import count
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphcl.evaluation.views import compare, features_changed, weights_of
from graphcl.views.structure import undirected_keys
from recsys.config import build, kind_of, read
from recsys.data.catalog import load_split
from recsys.view_kinds import Compose, Surroundings
from recsys.view_settings import ViewSettings


class Row(NamedTuple):
    """A number before, its mean and standard deviation over `draws` of the drawn views."""

    name: str
    before: float | None
    mean: float
    sd: float
    draws: int


@dataclass(frozen=True)
class Diagnosis:
    """A graph, the views drawn from it, and numbers on both."""

    settings: ViewSettings
    title: str
    num_users: int
    graph: Data
    """With `x` [U + I, d]."""
    views: list[Data]
    tables: dict[str, list[Row]]
    """Structure, and where the views have them weights and features."""


def diagnose(config: Path) -> Diagnosis:
    """Draw the views that `config` describes.

    Raises:
        ConfigError: every mistake in the file, a line each.
        InputError: the data or the run folder is at fault, or a view cannot be made of this graph.
    """
    settings = build(ViewSettings, read(config), config.name)
    train = load_split(settings.dataset, split=settings.split, filters=settings.filters).train
    vectors, model = settings.vectors.load(train)
    graph = Data(edge_index=train.graph.edge_index, x=vectors, num_nodes=train.graph.num_nodes)
    view = Compose(views=settings.views).build(Surroundings(train, vectors, model, count(settings.seed)))
    drawn = [view(graph) for _ in range(settings.draws)]
    name = settings.dataset if isinstance(settings.dataset, str) else "own data"
    title = f"{name}: {', then '.join(map(words, settings.views))}"
    tables = {
        name: rows
        for name, rows in (
            ("structure", list(structure(graph, drawn, train.num_users))),
            ("edge weights", list(weights(drawn))),
            ("vectors", list(features(graph, drawn))),
        )
        if rows
    }
    return Diagnosis(settings, title, train.num_users, graph, drawn, tables)


def words(part: Any) -> str:
    """A view's configuration on a line: edge_drop(ratio 0.2)."""
    if isinstance(part, tuple):
        return "[" + ", ".join(map(words, part)) + "]"
    if not is_dataclass(part):
        return str(part)
    keys = [f"{key.name} {words(value)}" for key in fields(part) if (value := getattr(part, key.name)) is not None]
    return f"{kind_of(type(part))}({', '.join(keys)})"


def structure(graph: Data, drawn: list[Data], num_users: int) -> Iterator[Row]:
    """Edges, components, degrees."""
    reports = [compare(graph, view) for view in drawn]
    first = reports[0]
    yield row("edges", first.edges_before, [report.edges_after for report in reports])
    yield row("share of the edges kept", None, [report.edges_kept for report in reports])
    yield row("edge overlap (Jaccard)", None, [report.edge_overlap for report in reports])
    yield row("components", first.components_before, [report.components_after for report in reports])
    yield row("largest component, share of nodes", None, [report.largest_component for report in reports])
    (users, items), *others = [isolated(one, num_users) for one in (graph, *drawn)]
    yield row("isolated users", users, [other[0] for other in others])
    yield row("isolated items", items, [other[1] for other in others])
    yield row("mean degree", first.mean_degree_before, [report.mean_degree_after for report in reports])
    yield row("degree shift", None, [report.degree_shift for report in reports])


def weights(drawn: list[Data]) -> Iterator[Row]:
    """Of the edges that are left, in those views that weigh them."""
    reports = [report for view in drawn if (report := weights_of(view))]
    for name in reports[0]._fields if reports else ():
        yield row(name.replace("_", " "), None, [getattr(report, name) for report in reports])


def features(graph: Data, drawn: list[Data]) -> Iterator[Row]:
    """How the vectors changed, in those views where they did."""
    reports = [report for view in drawn if (report := features_changed(graph, view)) and report.rows_changed]
    for name in reports[0]._fields if reports else ():
        yield row(name.replace("_", " "), None, [getattr(report, name) for report in reports])


def row(name: str, before: float | None, after: list[float]) -> Row:
    """A line of a table."""
    return Row(name, before, fmean(after), pstdev(after), len(after))


def isolated(graph: Data, num_users: int) -> tuple[int, int]:
    """Users and items without an edge."""
    alone = degrees(graph) == 0
    return int(alone[:num_users].sum()), int(alone[num_users:].sum())


def degrees(graph: Data) -> Tensor:
    """[N] distinct other nodes that each node is joined with, whichever way the edges run."""
    ends = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    pairs = undirected_keys(ends, graph.num_nodes).unique()
    return torch.cat([pairs // graph.num_nodes, pairs % graph.num_nodes]).bincount(minlength=graph.num_nodes)
