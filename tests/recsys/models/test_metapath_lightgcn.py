"""LightGCN with meta-path views, against dense formulas."""

import pytest
import torch
import torch.nn.functional as F

from graphcl.errors import InputError
from recsys.data.attributes import Attributes
from recsys.data.interactions import Interactions, Split
from recsys.data.samplers import Triples
from recsys.data.store import read_split, save_split
from recsys.experiment import Experiment
from recsys.models.lightgcn import LightGCN
from recsys.models.metapath_lightgcn import MetaPathLightGCN

GENRES = {"0": ("A", "B"), "1": ("A",), "2": ("B",), "3": (), "4": ("C",)}


def movies() -> Interactions:
    """Item 3 has no genre, item 4 one that nobody shares."""
    pairs = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 2], [2, 2], [2, 3], [3, 4], [3, 0]])
    return Interactions(
        user=pairs[:, 0],
        item=pairs[:, 1],
        num_users=4,
        num_items=5,
        item_ids=("0", "1", "2", "3", "4"),
        user_ids=("a", "b", "c", "d"),
        attributes=Attributes(item={"genre": GENRES}),
    )


def model(**keys: object) -> MetaPathLightGCN:
    torch.manual_seed(0)
    keys = {"embedding_size": 6, "n_layers": 2, "metapaths": ("user-item-user", "item-genre-item")} | keys
    return MetaPathLightGCN(movies(), MetaPathLightGCN.Config(**keys))


def test_contexts_are_the_most_similar_others() -> None:
    users, items = (context.dense() for context in model(n_neighbors=1).contexts)
    # One shared item of two is as similar to either neighbour; each keeps one, and never itself.
    assert users.diagonal().tolist() == [0.0] * 4
    assert (users > 0).sum(1).tolist() == [1] * 4
    assert items.sum(1).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    wide = model(n_neighbors=4).contexts[1].dense()
    torch.testing.assert_close(wide[0], torch.tensor([0.0, 0.5, 0.5, 0.0, 0.0]))


def test_many_of_one_genre_are_cut_to_the_limit() -> None:
    """All are as similar as a node is to itself, which takes no place among them, whoever wins the ties."""
    items = torch.arange(30)
    genres = Attributes(item={"genre": {str(item): ("A",) for item in range(30)}})
    train = Interactions(
        user=torch.zeros(30, dtype=torch.long),
        item=items,
        num_users=1,
        num_items=30,
        item_ids=tuple(map(str, range(30))),
        user_ids=("a",),
        attributes=genres,
    )
    for path in ("item-genre-item", "item-(has)-genre-(has)-item"):
        config = MetaPathLightGCN.Config(embedding_size=2, metapaths=(path,), n_neighbors=5)
        context = MetaPathLightGCN(train, config).contexts[0].dense()
        assert (context > 0).sum(1).tolist() == [5] * 30
        assert not context.diagonal().any()


def test_the_contrast_is_info_nce_of_vectors_and_contexts() -> None:
    trained = model(cl_weight=0.5, temperature=0.3)
    batch = Triples(torch.tensor([0, 1, 1]), torch.tensor([0, 2, 3]), torch.tensor([[4], [4], [0]]))
    expected = 0.0
    for half, context, rows in zip(
        trained.halves(trained.embed()), trained.contexts, (torch.tensor([0, 1]), torch.tensor([0, 2])), strict=True
    ):
        first, second = F.normalize(half[rows], dim=1), F.normalize((context.dense() @ half)[rows], dim=1)
        expected = expected + F.cross_entropy(first @ second.T / 0.3, torch.arange(2))
    torch.testing.assert_close(trained(batch, "all")["contrast"], 0.5 * expected)


def test_without_weight_it_is_lightgcn() -> None:
    torch.manual_seed(0)
    plain = LightGCN(movies(), LightGCN.Config(embedding_size=6, n_layers=2))
    batch = Triples(torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([[4], [4]]))
    ours, theirs = model(cl_weight=0.0)(batch, "all"), plain(batch, "all")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("item-director-item", "no attribute 'director'; its attributes are: genre"),
        ("user-item", "must lead from user to user or from item to item"),
        ("user-genre-user", "no edge type joins them"),
    ],
)
def test_paths_that_cannot_be_walked(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(metapaths=(path,))


def test_attributes_survive_cuts_and_the_store(tmp_path) -> None:
    everything = movies()
    train, valid, test = (everything.take(everything.user > least) for least in range(3))
    save_split(tmp_path / "split.safetensors", Split(train=train, valid=valid, test=test))
    again = read_split(tmp_path / "split.safetensors").train
    built = Experiment.load({"model": {"kind": "metapath_lightgcn", "metapaths": ["item-genre-item"]}}).build(again)
    assert built.contexts[0].num_edges == 4
