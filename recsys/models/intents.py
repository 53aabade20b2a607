"""Intents as clusters of states: what ICLRec and ICSRec share."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.cluster import assign, kmeans
from graphcl.errors import InputError
from graphcl.objectives import NTXent
from graphcl.ranges import Count, Positive


@dataclass(frozen=True, kw_only=True)
class IntentKeys:
    """Keys of a contrast with intents, which a model's configuration adds to those of its backbone."""

    n_intents: Count = 512
    """Clusters, each of them an intent."""
    temperature: Positive = 1.0
    """Temperature of both contrasts."""
    mask_false_negatives: bool = True
    """Whether rows of one intent are kept from being negatives of each other, in the contrast with intents."""
    n_init: Count = 1
    """Starts of k-means, the best of which counts; a warm start has one."""
    max_iter: Count = 20
    """Rounds of k-means at most."""
    warm_start: bool = True
    """Whether k-means continues from the centroids of the epoch before."""


class Intents(nn.Module):
    """Centroids of states, found again before each epoch, and the contrast of states with them."""

    centroids: Tensor
    found: Tensor

    def __init__(self, keys: IntentKeys, size: int, contrast: NTXent) -> None:
        super().__init__()
        self.keys, self.contrast = keys, contrast
        self.register_buffer("centroids", torch.zeros(keys.n_intents, size))
        self.register_buffer("found", torch.zeros((), dtype=torch.bool))

    def find(self, states: Iterable[Tensor], generator: torch.Generator) -> None:
        """Cluster states, given in pieces [b, d]; continue from the last centroids if `warm_start`."""
        start = self.centroids if self.keys.warm_start and bool(self.found) else None
        clusters = kmeans(
            torch.cat(list(states)),
            len(self.centroids),
            generator=generator,
            init=start,
            n_init=self.keys.n_init,
            max_iter=self.keys.max_iter,
        )
        self.centroids.copy_(clusters.centroids)
        self.found.fill_(True)

    def forward(self, state: Tensor, near: Tensor | None = None) -> Tensor:
        """Contrast states [B, d] with their intents, centroids scaled to length one; the mean over 2 B anchors.

        An intent is the centroid that is nearest to the state, or to the row of `near` [B, d]. States of one intent are
        not negatives of each other, if `mask_false_negatives`.
        """
        nearest, _ = assign((state if near is None else near).detach(), self.centroids)
        group = nearest if self.keys.mask_false_negatives else None
        return self.contrast(state, F.normalize(self.centroids, dim=1)[nearest], group=group)

    def refuse_fewer(self, samples: int, what: str) -> None:
        """Raise `InputError` where there are fewer samples than intents."""
        if samples < len(self.centroids):
            raise InputError(
                f"n_intents: {len(self.centroids)} clusters need as many {what}, the training data has {samples}; "
                f"choose fewer intents, or give their loss the weight 0"
            )
