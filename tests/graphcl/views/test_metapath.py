"""Meta-paths against dense algebra and brute force."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch_geometric.data import HeteroData
from torch_geometric.transforms import ToUndirected

from graphcl.errors import InputError
from graphcl.views import pathsim as views_pathsim
from graphcl.views.contexts import contexts
from graphcl.views.metapath import MetaPath, path_counts
from graphcl.views.pathsim import Ties, masked_copy, mean_graph, most_similar, pair_hash, pathsim, receiving
from graphcl.views.walks import walked_counts


def world(seed: int, sizes: tuple[int, int, int, int] = (9, 12, 4, 6), density: float = 0.25) -> HeteroData:
    """Authors, papers, conferences, terms; papers stand in the middle and know all the others."""
    random = np.random.default_rng(seed)
    data = HeteroData()
    for name, size in zip(("author", "paper", "conference", "term"), sizes, strict=True):
        data[name].num_nodes = size
    for name in ("author", "conference", "term"):
        dense = random.random((data["paper"].num_nodes, data[name].num_nodes)) < density
        data["paper", "to", name].edge_index = torch.from_numpy(np.stack(dense.nonzero()))
    return data


def dense_step(data: HeteroData, source: str, target: str) -> np.ndarray:
    forwards = (source, "to", target) in data.edge_types
    index = data[(source, "to", target) if forwards else (target, "to", source)].edge_index
    first, second = (source, target) if forwards else (target, source)
    table = np.zeros((data[first].num_nodes, data[second].num_nodes))
    table[index[0], index[1]] = 1
    return table if forwards else table.T


def dense_path(data: HeteroData, types: list[str]) -> np.ndarray:
    product = np.eye(data[types[0]].num_nodes)
    for source, target in pairwise(types):
        product = product @ dense_step(data, source, target)
    return product


PATHS = ["author-paper-author", "author-paper-conference-paper-author", "author-paper-term-paper-author"]


@given(st.integers(0, 10_000), st.sampled_from(PATHS))
@settings(max_examples=30, deadline=None)
def test_counts_are_the_product_of_the_steps(seed: int, text: str) -> None:
    data = world(seed)
    counts = path_counts(data, MetaPath.parse(text, data))
    np.testing.assert_array_equal(counts.toarray(), dense_path(data, text.split("-")))


def test_a_path_that_does_not_mirror_itself_is_multiplied_out() -> None:
    data = world(1)
    path = MetaPath.parse("author-paper-conference", data)
    assert not path.palindrome
    np.testing.assert_array_equal(
        path_counts(data, path).toarray(), dense_path(data, ["author", "paper", "conference"])
    )


def test_an_edge_listed_twice_counts_once() -> None:
    data = world(2)
    before = path_counts(data, MetaPath.parse(PATHS[0], data)).toarray()
    store = data["paper", "to", "author"]
    store.edge_index = torch.cat([store.edge_index, store.edge_index[:, :3]], 1)
    np.testing.assert_array_equal(path_counts(data, MetaPath.parse(PATHS[0], data)).toarray(), before)


def test_errors_name_what_is_missing_and_what_there_is() -> None:
    data = world(0)
    with pytest.raises(InputError, match=r"from 'author' to 'conference'.*paper-to-author"):
        MetaPath.parse("author-conference-author", data)
    with pytest.raises(InputError, match=r"'venue'.*author, paper, conference, term, joined by paper-to-author, paper"):
        MetaPath.parse("author-venue-author", data)
    with pytest.raises(InputError, match="has lonely, joined by no edges"):
        MetaPath.parse("lonely-other-lonely", HeteroData({"lonely": {"num_nodes": 1}}))
    data["paper", "wrote", "author"].edge_index = torch.zeros(2, 1, dtype=torch.long)
    with pytest.raises(InputError, match="name one of the relations to, wrote"):
        MetaPath.parse("author-paper-author", data)
    path = MetaPath.parse("author-(wrote)-paper-(to)-author", data)
    assert [step.edge_type[1] for step in path.steps] == ["wrote", "to"]
    assert [step.backwards for step in path.steps] == [True, False]


def best_by_brute_force(counts: np.ndarray, limit: int, ties: str) -> np.ndarray:
    kept = np.zeros_like(counts)
    for row in range(len(counts)):
        columns = np.flatnonzero(counts[row])
        score = 2 * counts[row, columns] / (counts[row, row] + np.diagonal(counts)[columns])
        tie = pair_hash(np.full(columns.size, row), columns) if ties == "spread" else columns
        chosen = columns[np.lexsort((tie, -score))][:limit]
        kept[row, chosen] = counts[row, chosen]
    return kept


@given(st.integers(0, 10_000), st.sampled_from(PATHS), st.integers(1, 9), st.sampled_from(["spread", "index"]))
@settings(max_examples=60, deadline=None)
def test_most_similar_keeps_the_best_of_each_row_and_breaks_ties_as_stated(
    seed: int, text: str, limit: int, ties: str
) -> None:
    data = world(seed)
    counts = path_counts(data, MetaPath.parse(text, data))
    kept = most_similar(counts, limit, ties)  # type: ignore[arg-type]
    np.testing.assert_array_equal(kept.toarray(), best_by_brute_force(counts.toarray(), limit, ties))


@pytest.mark.parametrize("ties", ["spread", "index", "published"])
def test_of_others_only_the_most_similar_are_those_of_a_wider_cut(ties: Ties) -> None:
    """Without ties: the diagonal, the most similar of all, is what the wider cut has more."""
    random = np.random.default_rng(5)
    half = random.random((12, 12))
    counts = half + half.T + np.diag(np.full(12, 9.0))
    others = csr_matrix(counts - np.diag(counts.diagonal()))
    others.eliminate_zeros()
    wider = most_similar(csr_matrix(counts), 4, ties).toarray()
    np.fill_diagonal(wider, 0)
    kept = most_similar(others, 3, ties, loops=counts.diagonal())
    np.testing.assert_array_equal(kept.toarray(), wider)


@pytest.mark.parametrize("block", [1, 7, 40])
def test_cutting_in_blocks_of_rows_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = path_counts(world(11), MetaPath.parse(PATHS[2], world(11)))
    expected = most_similar(counts, 3)
    monkeypatch.setattr(views_pathsim, "SORT_BLOCK", block)
    assert (most_similar(counts, 3) != expected).nnz == 0


def test_published_ties_are_those_of_numpys_argsort() -> None:
    counts = path_counts(world(12), MetaPath.parse(PATHS[1], world(12)))
    kept = most_similar(counts, 4, "published").toarray()
    score = pathsim(counts).toarray()
    for row in range(len(kept)):
        chosen = np.argsort(score[row])[::-1][: min(4, int((score[row] > 0).sum()))]
        assert set(np.flatnonzero(kept[row])) == set(chosen)


def test_pathsim_lies_between_zero_and_one_and_is_one_with_itself() -> None:
    counts = path_counts(world(3), MetaPath.parse(PATHS[2], world(3)))
    score = pathsim(counts).toarray()
    assert score.max() <= 1
    present = counts.diagonal() > 0
    np.testing.assert_array_equal(np.diagonal(score)[present], 1.0)


def citations(seed: int = 0) -> HeteroData:
    """Forty papers that cite earlier ones, so that no path leads back, but for 38 and 39, which cite each other."""
    random = np.random.default_rng(seed)
    cites = np.tril(random.random((40, 40)) < 0.4, -1)
    cites[38, 39] = cites[39, 38] = True
    data = HeteroData()
    data["paper"].num_nodes = 40
    data["paper", "cites", "paper"].edge_index = torch.from_numpy(np.stack(cites.nonzero()))
    return data


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ties", ["spread", "index", "published"])
def test_scores_are_finite_where_no_path_leads_back(ties: str) -> None:
    data = citations()
    path = MetaPath.parse("paper-paper-paper", data)
    counts = path_counts(data, path)
    assert not path.palindrome and not counts.diagonal()[:38].any()
    dense, score = counts.toarray(), pathsim(counts).toarray()
    np.testing.assert_array_equal(score[:38, :38], 2 * dense[:38, :38])
    np.testing.assert_array_equal(score[38:], 2 * dense[38:] / (dense.diagonal()[38:, None] + dense.diagonal()))
    kept = most_similar(counts, 4, ties).toarray()  # type: ignore[arg-type]
    for row in range(40):
        left, cut = score[row][kept[row] > 0], score[row][(kept[row] == 0) & (dense[row] > 0)]
        assert left.size == min(4, int((dense[row] > 0).sum())) and left.min(initial=9e9) >= cut.max(initial=0)


@pytest.mark.filterwarnings("error")
def test_nothing_over_nothing_is_nothing() -> None:
    from scipy.sparse import csr_matrix

    stored = csr_matrix((np.array([0.0, 2.0]), (np.array([0, 0]), np.array([0, 1]))), shape=(2, 2))
    np.testing.assert_array_equal(pathsim(stored).toarray(), [[0, 4], [0, 0]])


def test_spread_ties_favour_nobody_while_index_ties_pick_the_first_of_a_clique() -> None:
    data = HeteroData()
    data["paper"].num_nodes, data["subject"].num_nodes = 300, 1
    data["paper", "to", "subject"].edge_index = torch.stack([torch.arange(300), torch.zeros(300, dtype=torch.long)])
    counts = path_counts(data, MetaPath.parse("paper-subject-paper", data))
    picked = {ties: np.asarray(most_similar(counts, 30, ties).sum(0)).ravel() for ties in ("spread", "index")}
    assert (picked["index"][:30] == 300).all() and not picked["index"][30:].any()
    # Binomial(300, 0.1): mean 30, deviation 5.2.
    assert picked["spread"].min() > 8 and picked["spread"].max() < 55


def test_a_node_receives_from_those_who_picked_it() -> None:
    from scipy.sparse import csr_matrix

    picks = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    received = receiving(csr_matrix(picks)).toarray()
    expected = np.zeros((3, 3))
    expected[1, 0] = 2 / np.sqrt(2 * 3)
    np.testing.assert_allclose(received, expected)  # node 2 picked nobody: its degree is 0, and it gets nothing


@given(st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_masked_copies_lose_the_stated_share_and_gain_loops(seed: int, rate: float) -> None:
    data = world(seed)
    kept = path_counts(data, MetaPath.parse(PATHS[2], data))
    masked = masked_copy(kept, rate, np.random.default_rng(seed)).toarray()
    np.testing.assert_array_equal(np.diagonal(masked), 1.0)
    off = ~np.eye(len(masked), dtype=bool)
    edges = int((kept.toarray()[off] > 0).sum())
    assert masked[off].sum() == edges - int(edges * rate)
    assert not masked[off & (kept.toarray() == 0)].any()


def test_the_coarse_graph_is_the_plain_mean() -> None:
    data = world(5)
    graphs = [receiving(path_counts(data, MetaPath.parse(text, data))) for text in PATHS]
    np.testing.assert_allclose(mean_graph(graphs).toarray(), sum(graph.toarray() for graph in graphs) / 3)


@given(st.integers(0, 10_000), st.sampled_from(PATHS))
@settings(max_examples=30, deadline=None)
def test_contexts_are_the_distinct_nodes_at_each_prefix(seed: int, text: str) -> None:
    data = world(seed)
    types = text.split("-")
    found = contexts(data, MetaPath.parse(text, data))
    assert [context.node_type for context in found] == types[1:-1]
    for length, context in enumerate(found, start=2):
        distinct = dense_path(data, types[:length]) > 0
        np.testing.assert_array_equal(context.matrix.toarray(), distinct)
        np.testing.assert_array_equal(context.count, np.maximum(distinct.sum(1), 1))


def test_a_step_that_cannot_meet_a_node_twice_stays_a_factor() -> None:
    data = world(0)
    papers = torch.arange(12)
    data["paper", "to", "conference"].edge_index = torch.stack([papers, papers % 4])  # one conference per paper
    *_, last = contexts(data, MetaPath.parse(PATHS[1], data))
    assert len(last.factors) == 2
    np.testing.assert_array_equal(
        last.matrix.toarray(), dense_path(data, ["author", "paper", "conference", "paper"]) > 0
    )


@given(st.integers(0, 1000), st.sampled_from(PATHS), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_walked_counts_are_the_true_counts_of_the_pairs_they_reach(seed: int, text: str, n_walks: int) -> None:
    data = world(seed)
    path = MetaPath.parse(text, data)
    full = path_counts(data, path).toarray()
    some = walked_counts(data, path, n_walks, np.random.default_rng(seed)).toarray()
    np.testing.assert_array_equal(some[some > 0], full[some > 0])
    np.testing.assert_array_equal(np.diagonal(some), np.diagonal(full))
    assert (some[full == 0] == 0).all()


@pytest.mark.parametrize("text", [*PATHS, "author-paper-paper-author"])
def test_stored_reverse_edges_change_nothing(text: str) -> None:
    """PyG's `ToUndirected` adds each edge the other way, as a type of its own."""
    plain = world(5)
    plain["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    both = ToUndirected()(plain.clone())
    path = MetaPath.parse(text, both)
    counts = path_counts(both, path).toarray()
    np.testing.assert_array_equal(counts, path_counts(plain, MetaPath.parse(text, plain)).toarray())
    if len(path.steps) % 2 == 0:
        assert path.palindrome
        walked = walked_counts(both, path, 500, np.random.default_rng(0)).toarray()
        np.testing.assert_array_equal(walked, counts)


def test_reverse_edges_that_differ_are_walked_as_they_are() -> None:
    data = ToUndirected()(world(5))
    index = data["author", "rev_to", "paper"].edge_index
    data["author", "rev_to", "paper"].edge_index = index[:, 1:]
    path = MetaPath.parse(PATHS[0], data)
    assert not path.palindrome
    with pytest.raises(InputError, match="does not mirror itself"):
        walked_counts(data, path, 5, np.random.default_rng(0))


def test_many_walks_reach_every_pair() -> None:
    data = world(7)
    path = MetaPath.parse(PATHS[0], data)
    some = walked_counts(data, path, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(some.toarray(), path_counts(data, path).toarray())
