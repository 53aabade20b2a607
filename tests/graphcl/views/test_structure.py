"""Views of structure: what they keep, what they lose, and that the same view can be had again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import RandomJitter
from torch_geometric.utils import degree

from graphcl.errors import InputError
from graphcl.views.diffusion import PersonalizedPageRank
from graphcl.views.feature import FeatureMask, FeatureShuffle
from graphcl.views.noise import SignedNoise
from graphcl.views.random import Compose, RandomChoice
from graphcl.views.spectral import LowRankEdges
from graphcl.views.structure import EdgeAdd, EdgeDrop, NodeDrop, RandomWalkSubgraph

NUM_NODES = 12


def graph(count: int = 20, seed: int = 0) -> Data:
    """An undirected graph without loops, each edge numbered the same in both directions."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(NUM_NODES, (2, count), generator=generator)
    ends = ends[:, ends[0] != ends[1]].sort(0).values.unique(dim=1)
    number = torch.arange(ends.size(1))
    return Data(
        x=torch.randn(NUM_NODES, 3, generator=generator),
        edge_index=torch.cat([ends, ends.flip(0)], 1),
        number=torch.cat([number, number]),
        num_nodes=NUM_NODES,
    )


def edge_set(data: Data) -> set[tuple[int, int]]:
    return set(zip(*data.edge_index.tolist(), strict=True))


def new(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(ratio=st.floats(0, 1), seed=st.integers(0, 50))
def test_edge_drop_takes_whole_pairs_and_their_attributes(ratio, seed):
    data = graph(seed=seed)
    view = EdgeDrop(ratio, generator=new(seed))(data)
    assert edge_set(view) <= edge_set(data)
    assert {(j, i) for i, j in edge_set(view)} == edge_set(view)
    pairs = data.edge_index.size(1) // 2
    assert view.edge_index.size(1) == 2 * (pairs - round(ratio * pairs))
    numbers = dict(zip(zip(*data.edge_index.tolist(), strict=True), data.number.tolist(), strict=True))
    assert [numbers[edge] for edge in zip(*view.edge_index.tolist(), strict=True)] == view.number.tolist()
    assert view.num_nodes == NUM_NODES


@settings(max_examples=30, deadline=None)
@given(ratio=st.floats(0, 1), seed=st.integers(0, 50))
def test_node_drop_isolates_so_many_nodes(ratio, seed):
    data = graph(count=60, seed=seed)
    view = NodeDrop(ratio, generator=new(seed))(data)
    lost = {i for edge in edge_set(data) - edge_set(view) for i in edge}
    touched = {i for edge in edge_set(view) for i in edge}
    dropped = round(ratio * NUM_NODES)
    assert len(touched) <= NUM_NODES - dropped
    # Every lost edge touches a node that lost all its edges.
    assert all(i not in touched or j not in touched for i, j in edge_set(data) - edge_set(view))
    assert (dropped == 0) <= (not lost)


@pytest.mark.parametrize("sides", [None, 5])
def test_edge_add_adds_new_undirected_edges_only(sides):
    data = graph()
    if sides is not None:
        keep = (data.edge_index[0] < sides) != (data.edge_index[1] < sides)
        data = Data(edge_index=data.edge_index[:, keep], num_nodes=NUM_NODES)
    view = EdgeAdd(0.5, sides=sides, generator=new(1))(data)
    fresh = edge_set(view) - edge_set(data)
    assert edge_set(data) <= edge_set(view)
    assert len(fresh) == 2 * round(0.5 * len(edge_set(data)) / 2) == view.edge_index.size(1) - data.edge_index.size(1)
    assert all(i != j and (j, i) in fresh for i, j in fresh)
    if sides is not None:
        assert all((i < sides) != (j < sides) for i, j in fresh)


def test_edge_add_fills_the_graph_and_then_refuses():
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=4)
    assert len(edge_set(EdgeAdd(5.0)(data))) == 12
    with pytest.raises(InputError, match="only 5 pairs of nodes are not joined"):
        EdgeAdd(6.0)(data)


def test_random_walks_keep_the_subgraph_of_what_they_visit():
    # Two separate paths and an isolated node; a walk from one node never leaves its component.
    edges = torch.tensor([[0, 1, 2, 4, 5], [1, 2, 3, 5, 6]])
    data = Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=8)
    for seed in range(20):
        view = RandomWalkSubgraph(1 / 8, 30, generator=new(seed))(data)
        touched = {i for edge in edge_set(view) for i in edge}
        assert touched <= {0, 1, 2, 3} or touched <= {4, 5, 6}
        assert all(set(edge) <= touched for edge in edge_set(view))
    assert edge_set(RandomWalkSubgraph(1.0, 1)(data)) == edge_set(data)
    assert not edge_set(RandomWalkSubgraph(1 / 8, 30, restart=1.0)(Data(edge_index=edges[:, :0], num_nodes=8)))


@pytest.mark.parametrize(
    "make",
    [
        lambda g: EdgeDrop(0.4, generator=g),
        lambda g: NodeDrop(0.3, generator=g),
        lambda g: EdgeAdd(0.4, generator=g),
        lambda g: RandomWalkSubgraph(0.3, 2, generator=g),
        lambda g: RandomChoice([EdgeDrop(0.4), NodeDrop(0.3), EdgeDrop(0.9)], generator=g),
        lambda g: Compose([EdgeDrop(0.3, generator=g), NodeDrop(0.3, generator=g)]),
        lambda g: Compose([EdgeDrop(0.3), RandomChoice([NodeDrop(0.3), EdgeAdd(0.2, generator=g)], generator=g)]),
    ],
)
def test_views_differ_repeat_and_leave_their_input_alone(make):
    data = graph(count=60)
    before = data.edge_index.clone()
    torch.manual_seed(7)  # views without a generator take their seed from it
    view = make(new(7))
    first, second = view(data), view(data)
    assert edge_set(first) != edge_set(second)
    torch.manual_seed(7)
    assert edge_set(make(new(7))(data)) == edge_set(first)
    assert torch.equal(data.edge_index, before)
    assert edge_set(view.again(data)) == edge_set(second)
    third = view(data)
    assert edge_set(view.again(data)) == edge_set(third) == edge_set(view.again(data))


def test_views_without_a_generator_differ():
    data = graph(count=60)
    assert edge_set(EdgeDrop(0.4)(data)) != edge_set(EdgeDrop(0.4)(data))
    data.x = torch.arange(60.0).unsqueeze(1)
    mixed = Compose([NodeDrop(0.5), FeatureShuffle(0.5)])(data)
    bare = degree(mixed.edge_index[0], 60) == 0
    moved = (mixed.x != data.x).flatten()
    assert (moved & ~bare).any()


def test_asking_again_does_not_disturb_what_comes_next():
    data = graph(count=60)
    asked, silent = (
        RandomChoice([EdgeDrop(0.4, generator=new(3)), NodeDrop(0.3, generator=new(4))], generator=new(2))
        for _ in range(2)
    )
    with pytest.raises(InputError, match="draw one first"):
        asked.again(data)
    for _ in range(5):
        assert edge_set(asked(data)) == edge_set(silent(data))
        asked.again(data)


def test_a_graph_without_edges_stays_one():
    data = Data(x=torch.ones(4, 2), edge_index=torch.empty(2, 0, dtype=torch.long), num_nodes=4)
    for view in (EdgeDrop(0.5), NodeDrop(0.5), EdgeAdd(0.5), RandomWalkSubgraph(0.5, 3), LowRankEdges(1)):
        assert view(data).edge_index.shape == (2, 0)


@pytest.mark.parametrize("make", [EdgeDrop, NodeDrop])
def test_repeated_edges_share_the_fate_of_their_pair(make):
    data = graph()
    twice = Data(edge_index=data.edge_index.repeat(1, 2), num_nodes=NUM_NODES)
    view = make(0.5, generator=new(3))(twice)
    assert 0 < view.edge_index.size(1) < twice.edge_index.size(1)
    assert view.edge_index.size(1) == 2 * len(edge_set(view))


def test_random_choice_follows_its_weights():
    data = graph(count=60)
    view = RandomChoice([EdgeDrop(0.0), EdgeDrop(1.0)], [3, 1], generator=new(0))
    empty = sum(view(data).edge_index.size(1) == 0 for _ in range(400))
    assert abs(empty - 100) < 30


def test_heterogeneous_graphs():
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 4, 5
    data["user", "rates", "item"].edge_index = torch.stack([torch.arange(20) // 5, torch.arange(20) % 5])
    data["user", "rates", "item"].stars = torch.arange(20)
    dropped = EdgeDrop(0.25)(data)["user", "rates", "item"]
    assert dropped.edge_index.size(1) == 15
    assert torch.equal(dropped.edge_index[0] * 5 + dropped.edge_index[1], dropped.stars)
    assert NodeDrop(0.5, generator=new(0))(data)["user", "rates", "item"].edge_index.size(1) == 2 * 3


def test_ratios_out_of_range_are_refused():
    for make in (lambda: EdgeDrop(1.5), lambda: NodeDrop(-0.1), lambda: RandomWalkSubgraph(2.0, 1)):
        with pytest.raises(InputError, match="between 0 and 1"):
            make()


@pytest.mark.parametrize("view", [EdgeDrop(1.0), NodeDrop(0.5), RandomWalkSubgraph(0.2, 1)])
def test_nodes_stay_where_their_number_came_from_the_edges(view):
    bare = Data(edge_index=torch.tensor([[0, 1, 0, 9], [1, 0, 9, 0]]))
    assert view(bare).num_nodes == 10
    assert Compose([view, EdgeAdd(0.5)])(bare).num_nodes == 10
    assert "num_nodes" not in bare


@pytest.mark.parametrize(("sides", "pairs"), [(None, 45), (4, 24)])
def test_the_last_free_pair_is_found_at_once(sides, pairs):
    low, high = (
        torch.triu_indices(10, 10, 1) if sides is None else torch.cartesian_prod(*torch.arange(10).split([4, 6])).T
    )
    ends = torch.stack([low, high])[:, torch.arange(pairs) != 7]
    full = Data(edge_index=torch.cat([ends, ends.flip(0)], 1), num_nodes=10)
    view = EdgeAdd(1 / (pairs - 1), sides=sides)(full)
    assert (int(low[7]), int(high[7])) in edge_set(view)
    assert view.num_edges == 2 * pairs


def test_sides_beyond_the_graph_are_refused():
    with pytest.raises(InputError, match="sides is the number of nodes on the first side, 40 of 12"):
        EdgeAdd(0.1, sides=40)(graph())


def test_again_repeats_what_pyg_drew():
    chain = Compose([EdgeDrop(0.5), RandomJitter(0.1)])
    placed = graph()
    placed.pos = torch.zeros(NUM_NODES, 2)
    first = chain(placed)
    state = torch.get_rng_state()
    assert torch.equal(chain.again(placed).pos, first.pos)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(chain(placed).pos, first.pos)


@pytest.mark.parametrize(
    "view", [EdgeDrop(0.5), NodeDrop(0.5), EdgeAdd(0.5), RandomWalkSubgraph(0.5, 2), LowRankEdges(2)]
)
def test_a_graph_without_edge_index_is_refused_in_words(view):
    with pytest.raises(InputError, match="the graph has no edges to change"):
        view(Data(x=torch.ones(3, 2)))


@pytest.mark.parametrize("view", [EdgeAdd(0.5), RandomWalkSubgraph(0.5, 2), LowRankEdges(2), PersonalizedPageRank()])
def test_typed_graphs_are_refused_where_a_view_cannot_change_them(view):
    typed = HeteroData()
    typed["user"].num_nodes = 2
    typed["user", "knows", "user"].edge_index = torch.tensor([[0], [1]])
    with pytest.raises(InputError, match="changes graphs of one type of node"):
        view(typed)


def test_node_drop_needs_to_know_how_many_nodes_there_are():
    typed = HeteroData()
    typed["user"].name = "nobody counted"
    typed["user", "knows", "user"].edge_index = torch.tensor([[0], [1]])
    with pytest.raises(InputError, match="set its num_nodes"):
        NodeDrop(0.5)(typed)


def test_labels_of_edges_go_with_their_edges():
    data = graph()
    data.edge_label_index, data.edge_label = data.edge_index.clone(), torch.ones(data.edge_index.size(1))
    view = EdgeDrop(0.5, generator=new(0))(data)
    assert torch.equal(view.edge_label_index, view.edge_index) and len(view.edge_label) == view.edge_index.size(1)


def test_edges_within_a_side_take_no_room():
    data = Data(edge_index=torch.tensor([[0, 1, 0, 2], [1, 0, 2, 0]]), num_nodes=4)
    view = EdgeAdd(1.5, sides=2, generator=new(0))(data)
    assert edge_set(view) - edge_set(data) == {(0, 3), (3, 0), (1, 2), (2, 1), (1, 3), (3, 1)}
    with pytest.raises(InputError, match="only 3 pairs"):
        EdgeAdd(2.0, sides=2)(data)


def test_low_rank_edges_are_no_loops():
    data = graph(count=60)
    view = LowRankEdges(3, generator=new(0))(data)
    assert bool((view.edge_index[0] != view.edge_index[1]).all())
    complete = Data(edge_index=torch.tensor([[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]]), num_nodes=3)
    assert edge_set(LowRankEdges(1, generator=new(0))(complete)) == edge_set(complete)


@pytest.mark.parametrize("view", [FeatureMask(0.5), FeatureShuffle(), SignedNoise(0.1)])
def test_sparse_features_are_refused(view):
    data = Data(x=torch.eye(3).to_sparse_csr(), edge_index=torch.tensor([[0], [1]]))
    with pytest.raises(InputError, match="changes dense features x"):
        view(data)


def test_a_view_that_fails_once_more_leaves_its_generator():
    view, twin = (EdgeDrop(0.5, generator=new(3)) for _ in range(2))
    data = graph()
    view(data), twin(data)
    with pytest.raises(InputError):
        view.again(Data(num_nodes=3))
    assert edge_set(view(data)) == edge_set(twin(data))
