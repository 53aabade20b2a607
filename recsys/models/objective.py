"""An objective by its name, between two views of the same rows: what the models share whose objective is a key."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.cluster import assign, concentrations, kmeans
from graphcl.objectives import (
    DCL,
    DCLW,
    AdaptiveInfoNCE,
    DebiasedInfoNCE,
    HardNegativeInfoNCE,
    InfoNCE,
    MomentumInfoNCE,
    NegativeQueue,
    NTXent,
    PairMLP,
    ProtoNCE,
    WeightedInfoNCE,
    alignment,
    alignment_tempered,
    attraction_repulsion,
    barlow_twins,
    circle,
    cosine,
    group_ordering,
    jsd,
    margin_regulariser,
    pair_cross_entropy,
    uniformity,
    vicreg,
)
from graphcl.ranges import Count, Dropout, Positive, Weight

CLUSTERED = ("weighted", "prototypes", "clusters")
TEMPERED: dict[str, Callable[..., nn.Module]] = {
    "infonce": InfoNCE,
    "corrected": InfoNCE,
    "ntxent": NTXent,
    "margin": NTXent,
    "supcon": NTXent,
    "clusters": NTXent,
    "dcl": DCL,
    "dclw": DCLW,
    "debiased": DebiasedInfoNCE,
    "hard_negatives": HardNegativeInfoNCE,
    "weighted": WeightedInfoNCE,
    "momentum": MomentumInfoNCE,
}
OTHERS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "alignment_tempered": lambda a, b, rows, temperature: alignment_tempered(a, b, temperature=temperature),
    "alignment_uniformity": lambda a, b, rows, _: alignment(a, b) + (uniformity(a) + uniformity(b)) / 2,
    "attraction_repulsion": lambda a, b, rows, _: attraction_repulsion((F.normalize(a), F.normalize(b))),
    "barlow_twins": lambda a, b, rows, _: barlow_twins(a, b),
    "circle": lambda a, b, rows, _: circle(torch.cat([a, b]), rows.repeat(2)),
    "group_ordering": lambda a, b, rows, _: group_ordering((a, b), n_negatives=min(10, len(rows) - 1)),
    "jsd": lambda a, b, rows, _: jsd(a, b, similarity=cosine, negatives=lambda i, j: rows[i, None] != rows[j]),
    "vicreg": lambda a, b, rows, _: vicreg(a, b),
}
"""Those that are functions of two views of rows; most have no temperature."""
NEEDS_TWO_ROWS_THAT_DIFFER = ("jsd", "circle")


@dataclass(frozen=True, kw_only=True)
class ObjectiveKeys:
    """Keys of an objective that is itself a key; a model's configuration adds `objective`, the names it admits."""

    temperature: Positive = 0.2
    """Temperature, where the objective has one."""
    n_clusters: Count = 100
    """Clusters of users, and of items, where the objective knows of any; never more than there are of either."""
    queue_size: Count = 8192
    """Rows of each queue of the objective momentum."""
    margin_weight: Weight = 0.1
    """Weight of the regulariser in the objective margin."""
    tau_plus: Dropout = 0.1
    """Share of the negatives that debiased and hard_negatives take for unseen positives. Negatives push no
    more once the positive is nearer than their soft mean by about -temperature * log(tau_plus)."""
    beta: Weight = 1.0
    """How much the objective hard_negatives stresses the hardest."""

    read_by: ClassVar[dict[str, tuple[str, ...]]] = {
        "n_clusters": CLUSTERED,
        "queue_size": ("momentum",),
        "margin_weight": ("margin",),
        "tau_plus": ("debiased", "hard_negatives"),
        "beta": ("hard_negatives",),
    }

    def unread(self, objective: str, admitted: Iterable[str]) -> dict[str, str]:
        """The keys that only others of the admitted objectives read."""
        readers = {key: [name for name in admitted if name in some] for key, some in self.read_by.items()}
        return {
            key: f"only the objectives {', '.join(some)} read it"
            for key, some in readers.items()
            if objective not in some
        }


class Clustering(NamedTuple):
    """Clusters of one side."""

    assignment: Tensor
    """[n] the cluster of each row."""
    centroids: Tensor
    """[K, d]"""
    concentration: Tensor
    """[K] a temperature for each cluster."""

    @classmethod
    def of(cls, table: Tensor, keys: ObjectiveKeys, generator: torch.Generator) -> "Clustering":
        """Clusters of the directions of the rows [n, d] of `table`."""
        points = F.normalize(table)
        count = min(keys.n_clusters, len(points))
        centroids = kmeans(points, count, generator=generator).centroids
        assignment, distance = assign(points, centroids)
        spread = concentrations(distance, assignment, count, temperature=keys.temperature)
        return cls(assignment, centroids, spread)


class Objective(nn.Module):
    """One side's objective, with what it keeps from batch to batch.

    `repeat` says that a row may stand in a batch twice. It is then no negative of itself, but for the regulariser of
    margin and for uniformity, which know nothing of rows.
    """

    def __init__(self, name: str, keys: ObjectiveKeys, size: int, *, repeat: bool = False) -> None:
        super().__init__()
        self.name, self.keys, self.repeat = name, keys, repeat
        self.loss: nn.Module | None = None
        if name == "adaptive":
            self.loss = AdaptiveInfoNCE(PairMLP(size, 16), keys.temperature)
        elif name == "prototypes":
            self.loss = ProtoNCE()
        elif name in TEMPERED:
            own = {key: getattr(keys, key) for key in ("tau_plus", "beta") if name in keys.read_by[key]}
            self.loss = TEMPERED[name](keys.temperature, **own)
        self.bias = nn.Parameter(torch.tensor(-10.0)) if name == "sigmoid" else None
        """Where the sigmoid starts, as in its paper."""
        self.queue = NegativeQueue(keys.queue_size, size) if name == "momentum" else None

    def forward(
        self,
        a: Tensor,
        b: Tensor,
        rows: Tensor,
        *,
        clusters: Clustering | None = None,
        candidate_weight: Tensor | None = None,
    ) -> Tensor:
        """How badly views `a` and `b` [n, d] of `rows` [n] agree; 0 where nothing is there to be told from.

        That is, where there are fewer than two rows, but for momentum, which keeps older ones; its gradient is 0, too.

        `clusters` of the rows, for an objective in `CLUSTERED`; `candidate_weight` [n], for the objective corrected.
        """
        alone = len(rows) < 2 and self.queue is None
        if alone or (self.name in NEEDS_TWO_ROWS_THAT_DIFFER and bool((rows == rows[0]).all())):
            return (a.sum() + b.sum()) * 0.0  # not a constant: it may be all there is to differentiate
        if self.bias is not None:
            return pair_cross_entropy(
                a,
                b,
                target=lambda i, j: rows[i, None] == rows[j],
                temperature=self.keys.temperature,
                bias=self.bias,
            )
        if self.loss is None:
            return OTHERS[self.name](a, b, rows, self.keys.temperature)
        if self.name == "prototypes":
            assert clusters is not None
            to_own = (clusters.centroids, clusters.assignment[rows], clusters.concentration)
            first, second = (self.loss(view, *to_own) for view in (a, b))
            return (first + second) / 2
        loss: Tensor = self.loss(a, b, **self._known(b, rows, clusters, candidate_weight))
        if self.name == "margin":
            regulariser = margin_regulariser(a, b, temperature=self.keys.temperature, similarity=cosine)
            loss = loss + self.keys.margin_weight * regulariser
        return loss

    def _known(
        self, b: Tensor, rows: Tensor, clusters: Clustering | None, candidate_weight: Tensor | None
    ) -> dict[str, Tensor]:
        """What the loss is told about the rows."""
        if clusters is not None:
            own = clusters.assignment[rows]
            return {"labels": own} if self.name == "clusters" else {"clusters": own.unsqueeze(0)}
        if self.name == "supcon":
            return {"labels": rows}
        if self.queue is not None:
            self.queue.push(b, rows)
            return {"group": rows, "negatives": self.queue.rows, "negative_group": self.queue.ids}
        known = {"group": rows} if self.repeat else {}
        if self.name == "corrected":
            assert candidate_weight is not None
            known["candidate_weight"] = candidate_weight
        return known
