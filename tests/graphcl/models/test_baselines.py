"""GRACE, DGI and HeCo: they learn a world with known communities, from `Data` and from `HeteroData`."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from graphcl.errors import InputError
from graphcl.models import DGI, GRACE, HeCo
from graphcl.models.base import NodeBatch
from graphcl.models.heco import most_joined, neighbors
from graphcl.training.loop import Training, fit
from graphcl.views.metapath import MetaPath, path_counts

PATHS = ("author-paper-author", "author-paper-venue-paper-author")


def world(seed: int = 0) -> HeteroData:
    """Three communities of twenty authors; features are noisy, edges stay inside."""
    random = np.random.default_rng(seed)
    data = HeteroData()
    community, about = np.arange(60) % 3, np.arange(90) % 3
    data["author"].x = torch.from_numpy(np.eye(3)[community] + 0.8 * random.standard_normal((60, 3))).float()
    data["paper"].num_nodes, data["venue"].num_nodes = 90, 3
    wrote = (about[:, None] == community) & (random.random((90, 60)) < 0.15)
    data["paper", "to", "author"].edge_index = torch.from_numpy(np.stack(wrote.nonzero()))
    data["author", "to", "venue"].edge_index = torch.from_numpy(np.stack([np.arange(60), community]))
    data["paper", "to", "venue"].edge_index = torch.from_numpy(np.stack([np.arange(90), about]))
    data["author"].y = torch.from_numpy(community)
    data.target_type = "author"
    return data


def separation(z: torch.Tensor, y: torch.Tensor) -> float:
    """Mean cosine inside communities minus between them."""
    z = torch.nn.functional.normalize(z - z.mean(0), dim=1)
    alike, same = z @ z.T, y[:, None] == y
    return float(alike[same].mean() - alike[~same].mean())


MODELS: dict[str, tuple[Any, Any]] = {
    "grace": (GRACE, GRACE.Config(metapaths=PATHS[:1], embedding_size=16)),
    "dgi": (DGI, DGI.Config(metapaths=PATHS[:1], embedding_size=16)),
    "heco": (HeCo, HeCo.Config(metapaths=PATHS, embedding_size=16, n_positives=3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_communities_stand_apart_and_the_loss_falls(name: str) -> None:
    kind, config = MODELS[name]
    torch.manual_seed(0)
    model, losses = kind(world(), config), []
    training = Training(epochs=60, learning_rate=5e-3, train_batch_size=8, patience=100)
    fit(model, training, seed=0, log=lambda record: losses.append(record["losses"]["info"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    y = world()["author"].y
    assert separation(world()["author"].x, y) < 0.6 < separation(model.embed(), y)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name: str) -> None:
    kind, config = MODELS[name]
    torch.manual_seed(0)
    model = kind(world(), config)
    model.generator.manual_seed(0)
    (loss,) = model(NodeBatch(torch.arange(60)), "all").values()
    loss.backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), label


@pytest.mark.parametrize("name", ["grace", "dgi"])
def test_a_plain_graph_without_meta_paths_will_do(name: str) -> None:
    kind, config = MODELS[name]
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    model = kind(Data(x=torch.eye(4), edge_index=edge_index), replace(config, metapaths=()))
    dense = model.graph.matrix.dense()
    assert torch.equal(dense, dense.T) and (dense.diagonal() > 0).all()
    torch.testing.assert_close(dense, (dense > 0) / 3.0)  # everybody has two neighbours and a loop
    assert model.embed().shape == (4, 16)


def test_several_types_need_a_path() -> None:
    with pytest.raises(InputError, match="at least one path"):
        GRACE(world(), GRACE.Config())
    with pytest.raises(InputError, match="at least one path"):
        HeCo(world(), HeCo.Config(metapaths=()))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("path", ["paper-author-paper", "author-paper"])
def test_paths_must_lead_from_the_target_back_to_it(name: str, path: str) -> None:
    kind, config = MODELS[name]
    with pytest.raises(InputError, match="begin and end with the target type 'author'"):
        kind(world(), replace(config, metapaths=(path,)))


@pytest.mark.parametrize("name", MODELS)
def test_bf16_trains(name: str) -> None:
    kind, config = MODELS[name]
    model = kind(world(), config)
    fit(model, Training(epochs=1, precision="bf16"), seed=0)
    assert torch.isfinite(model.embed()).all()


def test_all_relations_to_a_type_make_its_neighbours() -> None:
    data = world()
    before = neighbors(data, "author")["venue"].dense()
    data["venue", "hosts", "author"].edge_index = torch.tensor([[0, 1], [0, 0]])  # the first is known already
    after = neighbors(data, "author")["venue"].dense()
    before[0, 1] = 1
    assert torch.equal(after, before)


def test_a_large_int32_graph_does_not_overflow() -> None:
    edge_index = torch.tensor([[69_999], [69_998]], dtype=torch.int32)
    graph = GRACE(Data(x=torch.ones(70_000, 1), edge_index=edge_index), GRACE.Config(embedding_size=1)).graph
    assert graph.matrix.num_edges == 70_002


def test_positives_are_the_node_itself_and_those_joined_by_the_most_paths() -> None:
    data = world()
    counts = [path_counts(data, MetaPath.parse(text, data)) for text in PATHS]
    row, column = most_joined(counts, 4)
    joined = sum((matrix.toarray() > 0).astype(int) for matrix in counts)
    np.fill_diagonal(joined, 0)
    for node in range(60):
        chosen = [other for other in column[row == node].tolist() if other != node]
        assert node in column[row == node] and len(chosen) == min(3, (joined[node] > 0).sum())
        left = np.setdiff1d(np.flatnonzero(joined[node]), chosen)
        assert not len(left) or not chosen or joined[node, chosen].min() >= joined[node, left].max()


def test_positives_of_the_data_stand_before_counted_ones() -> None:
    data, config = world(), MODELS["heco"][1]
    counted = HeCo(data, config).positive
    data["author"].positives = torch.arange(60).repeat(2, 1)
    assert torch.equal(HeCo(data, config).positive, data["author"].positives)
    assert not torch.equal(counted, data["author"].positives)


@pytest.mark.parametrize("kind", [GRACE, DGI])
def test_graphs_of_one_type_are_checked(kind: Any) -> None:
    edges = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(InputError, match="joins nodes of a HeteroData"):
        kind(Data(x=torch.eye(3), edge_index=edges), kind.Config(metapaths=PATHS[:1]))
    with pytest.raises(InputError, match=r"data\.x: must be a dense tensor"):
        kind(Data(x=torch.eye(3).to_sparse_csr(), edge_index=edges), kind.Config())
    with pytest.raises(InputError, match=r"names node 9, but they are numbered 0\.\.2"):
        kind(Data(x=torch.eye(3), edge_index=edges + torch.tensor([[0], [7]])), kind.Config())
    with pytest.raises(InputError, match=r"data\.edge_index: is missing"):
        kind(Data(x=torch.eye(3)), kind.Config())


@pytest.mark.parametrize("kind", [GRACE, DGI])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_features_may_want_a_gradient_or_be_of_half_precision(kind: Any, dtype: torch.dtype) -> None:
    data = Data(x=torch.eye(3, dtype=dtype).requires_grad_(), edge_index=torch.tensor([[0, 1], [1, 2]]))
    assert torch.equal(kind(data, kind.Config()).graph.features.dense, torch.eye(3))


@pytest.mark.parametrize("name", MODELS)
def test_graphs_of_several_types_are_checked(name: str) -> None:
    kind, config = MODELS[name]
    data = world()
    data["paper", "to", "author"].edge_index[1, 0] = 99
    with pytest.raises(InputError, match="names 'author' node 99"):
        kind(data, config)
