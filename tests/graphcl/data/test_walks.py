"""metapath2vec features."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import HeteroData

from graphcl.data.walks import WalkFeatures, walk_features
from graphcl.errors import InputError


def two_fields() -> HeteroData:
    """Sixty papers in two fields that share no author."""
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["paper"].num_nodes, data["author"].num_nodes = 60, 20
    paper = torch.arange(60).repeat(3)
    author = torch.randint(10, (180,), generator=generator) + 10 * (paper % 2)
    data["paper", "to", "author"].edge_index = torch.stack([paper, author])
    return data


def test_nodes_of_one_field_come_close_and_a_seed_fixes_them() -> None:
    settings = WalkFeatures(metapath="paper-author-paper", size=16, epochs=8, batch_size=10)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    found = walk_features(two_fields(), settings)
    assert torch.equal(before, torch.random.get_rng_state())
    assert {name: tuple(x.shape) for name, x in found.items()} == {"paper": (60, 16), "author": (20, 16)}
    unit = F.normalize(found["paper"], dim=1)
    near = unit @ unit.T
    field = torch.arange(60) % 2
    same = field[:, None] == field
    assert near[same].mean() > near[~same].mean() + 0.3
    again = walk_features(two_fields(), settings)
    assert torch.equal(found["paper"], again["paper"])
    assert not torch.equal(found["paper"], walk_features(two_fields(), settings, seed=1)["paper"])


def test_an_open_path_cannot_be_walked_over_and_over() -> None:
    with pytest.raises(InputError, match="must end where it begins"):
        walk_features(two_fields(), WalkFeatures(metapath="paper-author"))
