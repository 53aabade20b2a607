"""What a view does to a graph, by hand."""

import pytest
import torch
from torch_geometric.data import Data

from graphcl.evaluation.views import compare, features_changed, weights_of


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


def test_weights_by_hand():
    graph = undirected([(0, 1), (1, 2)], 3)
    assert weights_of(graph) is None
    graph.edge_weight = torch.tensor([0.5, 1.0, 0.0, 0.5])
    report = weights_of(graph)
    assert report == pytest.approx((0.5, 0.125**0.5, 0.0, 0.5, 0.5, 0.5, 1.0))


def test_features_by_hand():
    before, after = undirected([(0, 1)], 2), undirected([(0, 1)], 2)
    assert features_changed(before, after) is None
    before.x, after.x = torch.tensor([[1.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert features_changed(before, after) == pytest.approx((0.5, 0.5, (0.5**0.5 + 1) / 2))


def test_a_loop_is_no_neighbour():
    before = undirected([(0, 1), (1, 2)], 3)
    loops = Data(edge_index=torch.arange(3).expand(2, 3), num_nodes=3)
    report = compare(before, loops)
    assert (report.edges_after, report.edges_kept, report.isolated_after) == (0, 0, 3)
    assert (report.mean_degree_after, report.degree_shift) == (0, 1)


def test_a_row_of_zeros_that_did_not_change_did_not_turn():
    before, after = undirected([(0, 1)], 2), undirected([(0, 1)], 2)
    before.x, after.x = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    assert features_changed(before, after).mean_cosine == 1
