"""Diagnostics by hand."""

import math

import pytest
import torch
from torch_geometric.data import Data

from graphcl.evaluation.diagnostics import compare, effective_rank, spread


def undirected(pairs: list[tuple[int, int]], num_nodes: int) -> Data:
    edges = torch.tensor(pairs).T
    return Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=num_nodes)


def test_a_view_by_hand():
    before = undirected([(0, 1), (1, 2), (2, 0), (3, 4)], 6)
    after = undirected([(0, 1), (1, 3)], 6)
    report = compare(before, after)
    assert (report.edges_before, report.edges_after) == (4, 2)
    assert report.edges_kept == 1 / 4
    assert report.edge_overlap == 1 / 5
    assert (report.components_before, report.components_after) == (3, 4)
    assert report.largest_component == 3 / 6
    assert (report.isolated_before, report.isolated_after) == (1, 3)
    assert report.mean_degree_before == pytest.approx(8 / 6)
    # degrees 2 2 2 1 1 0 become 1 2 0 1 0 0
    assert report.degree_shift == pytest.approx((4 / 6) / (8 / 6))


def test_the_same_graph_does_not_shift():
    graph = undirected([(0, 1), (1, 2)], 3)
    report = compare(graph, graph)
    assert report.edge_overlap == 1
    assert report.degree_shift == 0


def test_collapse_is_seen():
    generator = torch.Generator().manual_seed(0)
    point = torch.ones(50, 4)
    healthy = torch.randn(50, 4, generator=generator)
    pairs = torch.arange(25), torch.arange(25) + 25
    one, many = (spread(x, pairs, generator=generator) for x in (point, healthy))
    assert one.alignment == pytest.approx(0, abs=1e-6)
    assert one.uniformity == pytest.approx(0, abs=1e-5)
    assert one.effective_rank == pytest.approx(1, abs=1e-3)
    assert many.alignment > 1
    assert many.uniformity < -1.5
    assert many.effective_rank > 3.5
    assert math.isnan(spread(point, generator=generator).alignment)


def test_effective_rank_by_hand():
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert effective_rank(torch.zeros(3, 2)) == 0
    shares = torch.tensor([0.75, 0.25], dtype=torch.float64)
    expected = math.exp(-float((shares * shares.log()).sum()))
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(expected)
