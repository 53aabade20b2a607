"""MEOW and AdaMEOW's pair loss written down literally, in dense matrices; the yardstick of `speed metapath`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.models.features import Features
from graphcl.models.meow import MEOW
from graphcl.objectives import PairMLP


class DenseMEOW:
    """The parameters and views of a `MEOW`, trained by the formulas as they stand."""

    def __init__(self, model: MEOW) -> None:
        self.model = model
        inputs = model.inputs
        self.graphs = [matrix.dense() for matrix in inputs.graphs]
        self.masked_graphs = [matrix.dense() for matrix in inputs.masked_graphs]
        self.coarse = inputs.coarse_graph.dense()
        self.contexts = [_product([factor.dense() for factor in factors]) for factors in inputs.context_factors]
        self.features = {name: _dense(table) for name, table in inputs.features.items()}
        self.masked = _dense(inputs.masked_features)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=7e-4)
        self.target, self.places, self.types = inputs.target, inputs.places, inputs.context_types
        del self.model.inputs  # nothing sparse stays in memory

    def step(self) -> None:
        """One epoch."""
        self.optimizer.zero_grad(set_to_none=True)
        u, v = self.projected()
        self.loss(u, v).backward()
        self.optimizer.step()

    def projected(self) -> tuple[Tensor, Tensor]:
        """Unit rows of the coarse and the fine view."""
        model = self.model
        tables = {name: F.elu(model.dropout(model.project_type[name](table))) for name, table in self.features.items()}
        masked = F.elu(model.dropout(model.project_type[self.target](self.masked)))
        own = tables[self.target]
        found = []
        for path, places in enumerate(self.places):
            met = torch.zeros_like(own)
            for aggregate, place in zip(model.aggregate[path], places, strict=True):
                met = met + model.dropout(aggregate(self.contexts[place] @ tables[self.types[place]]))
            found += [self.gcn(F.elu(own + met), self.graphs[path])]
            found += [self.gcn(F.elu(masked + met), self.masked_graphs[path])]
        z = model.attention([F.normalize(view, dim=1) for view in found])
        return model.project(self.gcn(own, self.coarse)), model.project(z)

    def gcn(self, h: Tensor, graph: Tensor) -> Tensor:
        """The shared encoder."""
        gcn = self.model.gcn
        h = gcn.activation(graph @ gcn.dropout(h @ gcn.first))
        h = graph @ gcn.dropout(h @ gcn.second)
        return F.layer_norm(h, h.shape)

    def loss(self, u: Tensor, v: Tensor) -> Tensor:
        """Weighted contrast and prototypes, with N x N matrices of similarities, weights and one-hot products."""
        config = self.model.config
        similarity = (u @ v.T / config.temperature).exp()
        weight = torch.ones_like(similarity) * len(config.n_clusters)
        proto = u.new_zeros(())
        for n_clusters in config.n_clusters:
            centroid, cluster = restarted_kmeans(v.detach(), n_clusters)
            one_hot = F.one_hot(cluster, n_clusters).to(u)
            weight = weight - one_hot @ one_hot.T
            phi = density((v.detach() * centroid[cluster]).sum(1), cluster, n_clusters, config.temperature)
            logits = (u @ F.normalize(centroid, dim=1).T / phi).exp()
            proto = proto - (logits.gather(1, cluster[:, None])[:, 0] / (len(u) * logits.mean(1))).log().mean()
        info = -(similarity.diagonal() / (similarity * weight).sum(1)).log().mean()
        return info + config.proto_weight * proto / len(config.n_clusters)


def restarted_kmeans(x: Tensor, n_clusters: int, restarts: int = 5, rounds: int = 20) -> tuple[Tensor, Tensor]:
    """The best of five times twenty rounds from random points, by inner product."""
    best, kept = -torch.inf, None
    for _ in range(restarts):
        centroid = x[torch.randperm(len(x))[:n_clusters]]
        for _ in range(rounds):
            cluster = (x @ centroid.T).argmax(1)
            count = torch.bincount(cluster, minlength=n_clusters)
            total = torch.zeros_like(centroid).index_add_(0, cluster, x)
            centroid = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], centroid)
        score, cluster = (x @ centroid.T).max(1)
        if float(score.sum()) > best:
            best, kept = float(score.sum()), (centroid, cluster)
    assert kept is not None
    return kept


def density(likeness: Tensor, cluster: Tensor, n_clusters: int, temperature: float) -> Tensor:
    """Concentrations, cluster by cluster."""
    phi = torch.zeros(n_clusters)
    for number in range(n_clusters):
        members = likeness[cluster == number]
        if len(members) > 1:
            phi[number] = members.clamp(min=0).sqrt().mean() / torch.log(torch.tensor(len(members) + 5.0))
    phi[phi == 0] = phi.max()
    low, high = torch.quantile(phi, torch.tensor([0.1, 0.9]))
    phi = phi.clamp(low, high)
    return temperature * phi / phi.mean()


def pair_loss(net: PairMLP, v: Tensor, u: Tensor) -> Tensor:
    """AdaMEOW's loss from the [N, N, d] sums of all pairs."""
    both = v[:, None, :] + u[None, :, :]
    weight = net.out(torch.tanh(net.hidden(both)))[..., 0].sigmoid()
    similarity = (v @ u.T).exp()
    return -(similarity.diagonal() / (similarity * weight).sum(1)).log().mean()


def _dense(table: Features) -> Tensor:
    if table.sparse is not None:
        return table.sparse.dense()
    return torch.eye(table.num_nodes) if table.dense is None else table.dense


def _product(factors: list[Tensor]) -> Tensor:
    product = factors[0]
    for factor in factors[1:]:
        product = product @ factor
    return product
