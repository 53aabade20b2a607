"""Learned choices of edges: a scorer, relaxed coin tosses with exact zeros, and a budget on how many are kept."""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.errors import InputError

STRETCH = (-0.1, 1.1)
"""The relaxed coin lives on this interval before it is cut to [0, 1] (Louizos et al., ICLR 2018, section 2.2)."""


class EdgeScorer(nn.Module):
    r"""$w^\top \mathrm{relu}(W (h_i + h_j) + b) + c$, alike in both directions.

    `(edge_index [2, E], h [N, d]) -> logit [E]`.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.ends, self.score = nn.Linear(size, hidden), nn.Linear(hidden, 1)

    def forward(self, edge_index: Tensor, h: Tensor) -> Tensor:
        """One logit for each edge."""
        node = F.linear(h, self.ends.weight)
        both = node.index_select(0, edge_index[0]) + node.index_select(0, edge_index[1]) + self.ends.bias
        logit: Tensor = self.score(both.relu()).squeeze(1)
        return logit


def hard_concrete(logit: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    r"""Weights in [0, 1], with exact zeros and ones, whose gradient reaches `logit`; both of one shape.

    $\mathrm{clip}(\sigma((\lambda + \log u - \log(1 - u)) / t)(r - l) + l)$ with u uniform, or without the draw (the
    median) where `generator` is None. As the temperature falls, weights become coin tosses with odds $e^\lambda$.
    """
    if temperature <= 0:
        raise InputError(f"temperature must be above 0, got {temperature}")
    if generator is not None:
        u = torch.rand(logit.shape, generator=generator, device=generator.device, dtype=logit.dtype).to(logit.device)
        u = u.clamp(torch.finfo(logit.dtype).eps, 1 - torch.finfo(logit.dtype).eps)
        logit = logit + u.log() - (-u).log1p()
    low, high = STRETCH
    return ((logit / temperature).sigmoid() * (high - low) + low).clamp(0, 1)


def chance_of_weight(logit: Tensor, temperature: float) -> Tensor:
    """The chance that `hard_concrete` gives more than zero, for each logit."""
    return (logit - temperature * log(-STRETCH[0] / STRETCH[1])).sigmoid()


class ConcreteMask(nn.Module):
    """A mask of edges that learns which to keep: `(edge_index [2, E], h [N, d]) -> weight [E]`.

    scorer: gives logits, for example `EdgeScorer`. Both directions of an edge share one draw if `pair` [E] numbers them
    alike (`graphcl.views.structure.undirected_pairs`). In evaluation mode nothing is drawn. The temperature goes from
    `start` to `end` geometrically as `progress`, which whoever trains the mask sets, goes from 0 to 1.
    """

    def __init__(self, scorer: nn.Module, *, start: float = 1.0, end: float = 0.1) -> None:
        super().__init__()
        if start <= 0 or end <= 0:
            raise InputError(f"temperatures must be above 0, got start {start} and end {end}")
        self.scorer, self.start, self.end = scorer, start, end
        self.progress = 0.0

    @property
    def temperature(self) -> float:
        """The temperature now."""
        return float(self.start * (self.end / self.start) ** self.progress)

    def forward(
        self, edge_index: Tensor, h: Tensor, generator: torch.Generator | None = None, pair: Tensor | None = None
    ) -> Tensor:
        """Weights in [0, 1]; `generator` is needed in training mode."""
        if self.training and generator is None:
            raise InputError("a ConcreteMask in training mode draws: give it a generator, or call eval()")
        logit: Tensor = self.scorer(edge_index, h)
        if not self.training:
            return hard_concrete(logit, self.temperature, None)
        if pair is None:
            return hard_concrete(logit, self.temperature, generator)
        first = logit.new_zeros(int(pair.max()) + 1 if len(pair) else 0).scatter_reduce(
            0, pair, logit, "mean", include_self=False
        )
        return hard_concrete(first, self.temperature, generator).index_select(0, pair)

    def budget_loss(self, edge_index: Tensor, h: Tensor, budget: float) -> Tensor:
        """Square of how far the expected share of kept edges exceeds `budget`; 0 below it and without edges."""
        if not edge_index.size(1):
            return h.new_zeros(())
        kept = chance_of_weight(self.scorer(edge_index, h), self.temperature).mean()
        return (kept - budget).clamp(min=0).square()

    @torch.no_grad()
    def set_budget(self, edge_index: Tensor, h: Tensor, budget: float) -> None:
        """Start from a mask that keeps this share of edges in expectation, by the bias of an `EdgeScorer`'s score."""
        if not isinstance(self.scorer, EdgeScorer) or not 0 < budget < 1:
            raise InputError(
                f"a budget in (0, 1) can be set on an EdgeScorer, got {budget} on a {type(self.scorer).__name__}"
            )
        if not edge_index.size(1):
            raise InputError("a budget cannot be set on a graph without edges")
        logit, low, high = self.scorer(edge_index, h), -100.0, 100.0
        for _ in range(60):  # the kept share rises with the bias: bisect
            middle = (low + high) / 2
            if chance_of_weight(logit + middle, self.temperature).mean() < budget:
                low = middle
            else:
                high = middle
        self.scorer.score.bias.add_(middle)
