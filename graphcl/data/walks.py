"""Features for node types that have none: metapath2vec (Dong, Chawla & Swami, KDD 2017), as PyG implements it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn.models import MetaPath2Vec

from graphcl.errors import InputError
from graphcl.ranges import Count, Positive
from graphcl.views.metapath import MetaPath


@dataclass(frozen=True, kw_only=True)
class WalkFeatures:
    """How the vectors are trained; every type on the path gets some."""

    metapath: str = ""
    """The path that walks repeat; it must end where it begins, such as paper-author-paper. Empty: no features."""
    size: Count = 64
    """Length of the vectors."""
    walk_length: Count = 20
    """Steps of a walk."""
    context_size: Count = 7
    """Nodes of a walk that are near one another."""
    walks_per_node: Count = 5
    """Walks from each node of the path's first type in an epoch."""
    epochs: Count = 3
    """Passes over these nodes."""
    learning_rate: Positive = 0.03
    """Step size of Adam."""
    batch_size: Count = 64
    """Nodes of a batch."""


def walk_features(data: HeteroData, settings: WalkFeatures, seed: int = 0) -> dict[str, Tensor]:
    """Vectors [N, size] of each type on the path.

    Random walks follow the path over and over, and nodes near one another on a walk get similar vectors. All draws
    follow from `seed`; the global generator is left as it was.

    Raises:
        InputError: the path does not exist, or does not end where it begins.
    """
    path = MetaPath.parse(settings.metapath, data)
    if path.types[0] != path.types[-1]:
        raise InputError(f"walk_features: the path {path.text!r} must end where it begins, to be walked over and over.")
    edges, steps = {}, []
    for source, step, target in zip(path.types[:-1], path.steps, path.types[1:], strict=True):
        index = data[step.edge_type].edge_index
        name = (source, f"{step.edge_type[1]}_backwards" if step.backwards else step.edge_type[1], target)
        edges[name] = index.flip(0) if step.backwards else index
        steps.append(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would reseed GPUs
        model = MetaPath2Vec(
            edges,
            embedding_dim=settings.size,
            metapath=steps,
            walk_length=settings.walk_length,
            context_size=settings.context_size,
            walks_per_node=settings.walks_per_node,
            num_negative_samples=1,
            num_nodes_dict={name: data[name].num_nodes for name in data.node_types},
            sparse=True,
        )
        # Like word2vec, and unlike PyG, from small vectors: from N(0, 1) some hundred steps change little.
        torch.nn.init.uniform_(model.embedding.weight, -0.5 / settings.size, 0.5 / settings.size)
        optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=settings.learning_rate)
        for _ in range(settings.epochs):
            for positive, negative in model.loader(batch_size=settings.batch_size, shuffle=True):
                optimizer.zero_grad()
                model.loss(positive, negative).backward()
                optimizer.step()
        return {name: model(name).detach().clone() for name in dict.fromkeys(path.types)}
