"""MEOW and AdaMEOW: golden vectors, exact equivalences, and the edges of the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from benchmarks.conformance import bar, difference, read
from benchmarks.conformance_meow import cases, checks
from graphcl.errors import InputError
from graphcl.models import EMBEDDERS, MEOW, AdaMEOW
from graphcl.models.base import NodeBatch, NodeSampler
from graphcl.models.blocks import take_rows
from graphcl.objectives import PairMLP
from graphcl.objectives.pair_mlp import MOST_NODES, interpolated, interval, nodes_needed
from graphcl.ops import SparseMatrix, spmm
from graphcl.training.loop import Training, fit

GOLDEN = Path(__file__).parents[2] / "golden"
PATHS = ("author-paper-author", "author-paper-venue-paper-author")
SIZES = {"author": 24, "paper": 40, "venue": 5}


def world(seed: int = 0) -> HeteroData:
    """Three communities of authors who write papers of their own venues; authors 0 and 1 wrote nothing."""
    random = np.random.default_rng(seed)
    data = HeteroData()
    community = np.arange(24) % 3
    data["author"].x = torch.eye(3)[community] + 0.1 * torch.rand(24, 3, generator=torch.Generator().manual_seed(seed))
    data["paper"].num_nodes, data["venue"].num_nodes = SIZES["paper"], SIZES["venue"]
    about = np.arange(40) % 3
    wrote = (about[:, None] == community) & (random.random((40, 24)) < 0.4)
    wrote[:, :2] = False
    data["paper", "to", "author"].edge_index = torch.from_numpy(np.stack(wrote.nonzero()))
    data["paper", "to", "venue"].edge_index = torch.from_numpy(np.stack([np.arange(40), about]))
    data["author"].y = torch.from_numpy(community)
    data.target_type = "author"
    return data


def meow(data: HeteroData, **changes: object) -> MEOW:
    torch.manual_seed(0)
    config = MEOW.Config(metapaths=PATHS, n_neighbors=(5, 8), embedding_size=8, n_clusters=(3, 5))
    return MEOW(data, replace(config, **changes))


def adameow(data: HeteroData, **changes: object) -> AdaMEOW:
    torch.manual_seed(0)
    config = AdaMEOW.Config(metapaths=PATHS, n_neighbors=(5,), embedding_size=8)
    return AdaMEOW(data, replace(config, **changes))


@pytest.mark.parametrize("name", ["meow", "adameow"])
@pytest.mark.parametrize("schema", ["short", "long"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_array_of_the_authors_code(name: str, schema: str, dtype: torch.dtype) -> None:
    archive = read(GOLDEN / f"{name}.npz")
    found = list(checks(archive, schema, dtype))
    assert len(found) > 45 and len(list(cases(archive))) == 6
    for check in found:
        assert difference(check) <= bar(check, dtype), check.name


def everybody(model: MEOW | AdaMEOW) -> NodeBatch:
    return NodeBatch(torch.arange(model.inputs.num_nodes))


@pytest.mark.parametrize("make", [meow, adameow])
def test_every_parameter_gets_a_finite_gradient(make) -> None:
    model = make(world())
    sum(model(everybody(model), "all").values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("make", [meow, adameow])
def test_sampling_everything_is_the_whole_graph(make) -> None:
    model = make(world(), fan_out=100).eval()
    whole = model.whole_views()
    some = model.sampled_views(torch.arange(24))
    torch.testing.assert_close(some.fine, whole.fine)
    torch.testing.assert_close(some.coarse, whole.coarse)


@pytest.mark.parametrize("make", [meow, adameow])
def test_batches_train_and_a_seed_fixes_them(make) -> None:
    def train() -> torch.Tensor:
        model = make(world(), fan_out=3)
        fit(model, Training(epochs=2, train_batch_size=10), seed=4)
        return model.embed()

    first = train()
    assert torch.isfinite(first).all()
    torch.testing.assert_close(first, train(), rtol=0, atol=0)


def test_communities_are_found_without_labels() -> None:
    model = meow(world(), drop_ratio=0.0)
    fit(model, Training(epochs=60, learning_rate=5e-3, patience=100), seed=0)
    z = torch.nn.functional.normalize(model.embed()[2:], dim=1)
    y = world()["author"].y[2:]
    same = y[:, None] == y
    alike = z @ z.T
    assert alike[same].mean() > alike[~same].mean() + 0.3


def test_nodes_without_context_get_vectors_and_zero_context() -> None:
    model = meow(world()).eval()
    (factor,) = model.inputs.context_factors[0]
    assert not spmm(factor, torch.ones(factor.num_cols, 1))[:2].any()
    assert torch.isfinite(model.embed()).all()


def test_one_cluster_for_all_leaves_a_finite_loss() -> None:
    model = meow(world(), n_clusters=(1, 1))
    losses = model(everybody(model), "all")
    assert losses["info"] == 0  # no pair is told apart: no anchor has a negative
    assert torch.isfinite(losses["proto"])


def test_more_clusters_than_nodes_become_as_many_as_nodes() -> None:
    model = meow(world(), n_clusters=(500,))
    assert all(torch.isfinite(loss) for loss in model(everybody(model), "all").values())


def test_a_small_batch_does_not_shrink_the_clusterings_that_follow() -> None:
    model = meow(world(), n_clusters=(6,), warm_start=True)
    v = torch.randn(24, 8, generator=torch.Generator().manual_seed(0))
    assert [len(model.cluster(v[:size])[0].centroids) for size in (24, 3, 24)] == [6, 3, 6]


def test_warm_clusterings_survive_a_checkpoint(tmp_path: Path) -> None:
    def losses(*epochs: int, folder: Path | None = None) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        for last in epochs:
            model = meow(world(), n_clusters=(6,), warm_start=True)
            log = lambda record: found.append(record["losses"])  # noqa: E731
            fit(model, Training(epochs=last), seed=0, folder=folder, resume=True, log=log)
        return found

    assert losses(2, 4, folder=tmp_path) == losses(4)


@pytest.mark.parametrize("name", ["items", "type", "a.b"])
def test_names_that_torch_keeps_for_itself_are_refused(name: str) -> None:
    data = HeteroData()
    data["author"].num_nodes, data[name].num_nodes = 2, 2
    data["author", "to", name].edge_index = torch.tensor([[0, 1], [0, 1]])
    data.target_type = "author"
    with pytest.raises(InputError, match="keeps for itself"):
        meow(data, metapaths=(f"author-{name}-author",))


def test_a_disconnected_graph_and_missing_labels_train() -> None:
    data = world()
    del data["author"].y
    data["paper", "to", "author"].edge_index = data["paper", "to", "author"].edge_index[:, :1]
    model = meow(data)
    fit(model, Training(epochs=2), seed=0)
    assert torch.isfinite(model.embed()).all()


def test_types_without_features_are_told_apart_by_number() -> None:
    data = world()
    del data["author"].x
    data["author"].num_nodes = 24
    model = meow(data)
    assert model.project_type["author"].weight.shape == (8, 24)
    assert model.embed().unique(dim=0).shape[0] == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metapaths": ()}, "at least one path"),
        ({"metapaths": ("paper-author-paper",)}, "begin and end with the target type 'author'"),
        ({"n_clusters": ()}, "at least one clustering"),
        ({"n_neighbors": (1, 2, 3)}, "n_neighbors: give one value, or one for each of the 2"),
        ({"metapaths": ("author-paper-author", "author-venue-author")}, "no edge type joins them"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        meow(world(), **changes)


def test_the_masks_follow_from_torchs_seed() -> None:
    first, second = meow(world()), meow(world())
    assert torch.equal(first.inputs.masked_graphs[1].col, second.inputs.masked_graphs[1].col)
    torch.manual_seed(1)
    other = MEOW(world(), first.config)
    assert not torch.equal(first.inputs.masked_graphs[1].col, other.inputs.masked_graphs[1].col)


def test_normalised_weights_forget_their_scale_and_published_ones_do_not() -> None:
    def losses(normalize: bool, bias: float) -> float:
        model = adameow(world(), normalize_weights=normalize).eval()
        model.info.weight_net.out.bias.data.fill_(bias)
        return float(model(everybody(model), "all")["info"].detach())

    # Far in the tail the sigmoid is an exponential: a bias is a factor of every weight.
    assert losses(True, -20.0) == pytest.approx(losses(True, -25.0), abs=1e-4)
    assert losses(False, -20.0) == pytest.approx(losses(False, -25.0) + 5, abs=1e-4)


def test_weight_spread_is_that_of_the_weights() -> None:
    model = adameow(world()).eval()
    views = model.whole_views()
    w = model.info.weight_net(model.project(views.fine), model.project(views.coarse)).exp().detach()
    spread = model.weight_spread()
    assert spread["weight_mean"] == pytest.approx(float(w.mean()), rel=1e-5)
    assert spread["weight_std"] == pytest.approx(float(w.std(unbiased=False)), rel=1e-2)


@pytest.mark.parametrize("size", [0.05, 0.2, 1.0, 30.0])
def test_pair_weights_equal_the_plain_network_and_its_gradients(size: float) -> None:
    # Small rows are interpolated, large ones go unit by unit.
    torch.manual_seed(0)
    fast, plain = PairMLP(6, 5).double(), PairMLP(6, 5, activation=lambda hidden: hidden.tanh()).double()
    plain.load_state_dict(fast.state_dict())
    x, y = (size * torch.randn(rows, 6, dtype=torch.double) for rows in (7, 9))
    x, y = x.requires_grad_(), y.requires_grad_()
    cotangent = torch.randn(7, 9, dtype=torch.double)
    for ours, theirs in zip(derived(fast, x, y, cotangent), derived(plain, x, y, cotangent), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def derived(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, cotangent: torch.Tensor) -> list[torch.Tensor]:
    """The log weights, and their gradients."""
    log_weight = net(x, y)
    return [log_weight, *torch.autograd.grad(log_weight, [x, y, *net.parameters()], cotangent)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_many_nodes_as_needed_interpolate_to_rounding(dtype: torch.dtype) -> None:
    p = torch.linspace(-9, 9, 200, dtype=dtype)[:, None]
    for reach in (0.01, 0.1, 0.2, 0.5, 1.0):
        q = torch.linspace(-reach, reach, 200, dtype=dtype)[:, None]
        nodes = nodes_needed(reach, dtype)
        found = interpolated(p, q, torch.ones(1, dtype=dtype), *interval(q), nodes)
        assert float((found - (p + q.T).tanh()).abs().max()) < 50 * torch.finfo(dtype).eps
    assert nodes_needed(float("nan"), dtype) > MOST_NODES < nodes_needed(float("inf"), dtype)


def test_pair_weights_saturate_without_infinity() -> None:
    net = PairMLP(2, 3)
    x = torch.full((4, 2), 1e4, requires_grad=True)
    log_weight = net(x, -2 * x.detach())
    log_weight.sum().backward()
    assert torch.isfinite(log_weight).all() and torch.isfinite(x.grad).all()


def test_pair_weights_of_rows_far_from_the_origin() -> None:
    torch.manual_seed(0)
    net = PairMLP(2, 3)
    x, y = torch.randn(4, 2), 9 * torch.randn(5, 2)
    torch.testing.assert_close(net(x + 200, y - 200), net(x, y), atol=1e-4, rtol=1e-4)


def test_take_rows_cuts_exactly_and_samples_without_bias() -> None:
    torch.manual_seed(0)
    dense = torch.rand(6, 30) * (torch.rand(6, 30) < 0.6)
    dense[4] = 0
    index = dense.nonzero().T
    matrix = SparseMatrix.from_edges(index, dense[index[0], index[1]], shape=(6, 30))
    row = torch.tensor([5, 0, 4])
    part, column = take_rows(matrix, row)
    torch.testing.assert_close(part.dense(), dense[row][:, column])
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(3, 30)
    for _ in range(1000):
        part, column = take_rows(matrix, row, 4, generator)
        assert part.crow.diff().max() <= 4
        assert part.num_edges == len(torch.stack([part.row, part.col]).unique(dim=1).T)  # nobody is drawn twice
        total[:, column] += part.dense()
    torch.testing.assert_close(total.sum(1) / 1000, dense[row].sum(1), rtol=0.05, atol=0.0)


def test_the_sampler_covers_all_nodes_and_leaves_no_lonely_one() -> None:
    sampler = NodeSampler(11)
    batches = list(sampler.batches(5, torch.Generator().manual_seed(0)))
    assert [len(batch.node) for batch in batches] == [5, 5] and sampler.steps(5) == 2
    assert torch.cat([batch.node for batch in batches]).unique().numel() == 10
    (whole,) = sampler.batches(11, torch.Generator())
    assert whole.node.tolist() == list(range(11))


def test_every_embedder_has_a_name() -> None:
    assert set(EMBEDDERS) == {"meow", "adameow", "heco", "grace", "dgi"}
