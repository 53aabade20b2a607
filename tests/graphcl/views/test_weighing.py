"""Masks as views of graphs, and views that give other edges or features."""

import pytest
import torch
from torch_geometric.data import Data

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, spmm, symmetric_adjacency
from graphcl.views.concrete import ConcreteMask, EdgeScorer
from graphcl.views.masks import adaptive_mask, cosine_mask
from graphcl.views.noise import SignedNoise
from graphcl.views.random import Compose
from graphcl.views.spectral import LowRankEdges
from graphcl.views.structure import EdgeDrop
from graphcl.views.weighing import ConcreteWeights, CosineWeights


def new(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph() -> Data:
    """Node 8 is isolated; edges stand in no order."""
    ends = torch.randint(8, (2, 14), generator=new())
    ends = ends[:, ends[0] != ends[1]]
    edges = torch.cat([ends, ends.flip(0)], 1).unique(dim=1)
    edges = edges[:, torch.randperm(edges.size(1), generator=new(4))]
    return Data(x=torch.randn(9, 5, generator=new(1)), edge_index=edges, num_nodes=9)


@pytest.mark.parametrize("by_row", [False, True])
def test_cosine_weights_are_the_mask_in_the_order_of_the_graph(by_row):
    data = graph()
    view = CosineWeights(by_row=by_row)(data)
    matrix = SparseMatrix.from_edges(data.edge_index.flip(0), shape=9)  # rows receive
    expected = (adaptive_mask if by_row else cosine_mask)(matrix, data.x)
    table = SparseMatrix(matrix.crow, matrix.col, expected, 9).dense()
    torch.testing.assert_close(view.edge_weight, table[data.edge_index[1], data.edge_index[0]])
    assert "edge_weight" not in data


def test_concrete_weights_drop_exact_zeros_and_repeat():
    data = graph()
    view = ConcreteWeights(ConcreteMask(EdgeScorer(5, 4), start=0.1), generator=new(2))
    first = view(data)
    assert 0 < first.edge_index.size(1) < data.edge_index.size(1)
    assert (first.edge_weight > 0).all()
    weight = {(i, j): w for (i, j), w in zip(first.edge_index.T.tolist(), first.edge_weight.tolist(), strict=True)}
    assert all(weight[j, i] == w for (i, j), w in weight.items())
    assert torch.equal(view.again(data).edge_weight, first.edge_weight)
    first.edge_weight.sum().backward()
    assert all(parameter.grad is not None for parameter in view.mask.parameters())


def test_masks_multiply_in_a_chain():
    data = graph()
    chain = Compose([EdgeDrop(0.5, generator=new(3)), CosineWeights(), CosineWeights()])
    view = chain(data)
    once = CosineWeights()(EdgeDrop(0.5, generator=new(3))(data))
    torch.testing.assert_close(view.edge_weight, once.edge_weight.square())
    assert torch.equal(chain.again(data).edge_index, view.edge_index)


def test_a_mask_needs_something_to_compare():
    with pytest.raises(InputError, match="no features"):
        CosineWeights()(Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2))


def test_low_rank_edges_of_full_rank_are_the_graph_itself():
    data = graph()
    view = LowRankEdges(9)(data)
    assert set(map(tuple, view.edge_index.T.tolist())) == set(map(tuple, data.edge_index.T.tolist()))
    table = symmetric_adjacency(data.edge_index, 9).dense()
    torch.testing.assert_close(view.edge_weight, table[view.edge_index[0], view.edge_index[1]], atol=1e-5, rtol=1e-4)


def bipartite(seed=0, num_left=12, num_right=20):
    generator = torch.Generator().manual_seed(seed)
    table = torch.rand(num_left, num_right, generator=generator) < 0.25
    ends = table.nonzero().T + torch.tensor([[0], [num_left]])
    return Data(edge_index=torch.cat([ends, ends.flip(0)], 1), num_nodes=num_left + num_right), table


@pytest.mark.parametrize("rank", [1, 4, 5])
def test_low_rank_edges_of_a_bipartite_graph_are_the_largest_entries_of_its_block(rank):
    data, table = bipartite()
    view = LowRankEdges(rank, sides=12)(data)
    left, right = view.edge_index
    assert ((left < 12) != (right < 12)).all()
    block = symmetric_adjacency(data.edge_index, 32).dense()[:12, 12:]
    u, s, v = torch.linalg.svd(block)
    block = u[:, :rank] * s[:rank] @ v[:rank]
    entries = torch.zeros(32, 32)
    entries[:12, 12:], entries[12:, :12] = block, block.T
    torch.testing.assert_close(view.edge_weight, entries[left, right], atol=1e-4, rtol=1e-3)
    for user, degree in enumerate(table.sum(1).tolist()):  # by value: like items tie
        chosen = view.edge_weight[left == user].topk(degree).values
        torch.testing.assert_close(chosen, block[user].topk(degree).values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rank", [1, 4, 5])
@pytest.mark.parametrize("sides", [None, 12])
def test_low_rank_edges_are_undirected_whatever_the_rank(rank, sides):
    view = LowRankEdges(rank, sides=sides)(bipartite()[0])  # whose singular values come in pairs
    table = torch.zeros(32, 32).index_put(tuple(view.edge_index), view.edge_weight)
    assert torch.equal(table, table.T) and len(view.edge_index.T.unique(dim=0)) == view.num_edges


def test_low_rank_edges_refuse_sides_that_are_none():
    data, _ = bipartite()
    with pytest.raises(InputError, match="an edge joins two nodes on one side of 13"):
        LowRankEdges(2, sides=13)(data)
    with pytest.raises(InputError, match="sides: is the number of nodes on the first side, 40 of 32"):
        LowRankEdges(2, sides=40)(data)


def test_low_rank_edges_bear_edges_that_are_listed_often():
    edge_index = torch.tensor([[0, 1] * 5, [1, 0] * 5])
    view = LowRankEdges(1)(Data(edge_index=edge_index, num_nodes=3))
    assert torch.isfinite(view.edge_weight).all() and view.edge_index.max() < 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["low rank", "concrete"])
def test_views_draw_on_the_cpu_for_a_graph_on_a_gpu(kind):
    data = graph()
    mask = ConcreteMask(EdgeScorer(data.x.size(1), 4))
    here, there = (
        LowRankEdges(9, generator=new()) if kind == "low rank" else ConcreteWeights(mask, generator=new())
        for _ in range(2)
    )
    expected = here(data)
    mask.cuda()
    assert torch.equal(there(data.cuda()).edge_index.cpu(), expected.edge_index)


def test_signed_noise_moves_every_row_by_its_size():
    data = graph()
    view = SignedNoise(0.2)
    first = view(data)
    torch.testing.assert_close((first.x - data.x).norm(dim=1), torch.full((9,), 0.2))
    assert torch.equal(view.again(data).x, first.x)
    assert not torch.equal(view(data).x, first.x)


def test_gradients_flow_through_a_mask_into_its_signal():
    data = graph()
    h = torch.randn(data.num_nodes, 4, requires_grad=True)
    weighed = CosineWeights(lambda _: h)(data)
    adjacency = symmetric_adjacency(weighed.edge_index, weighed.num_nodes, weighed.edge_weight)
    spmm(adjacency, torch.randn(data.num_nodes, 2)).square().sum().backward()
    assert h.grad.abs().sum() > 0
