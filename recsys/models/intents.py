"""Intents as clusters of states: what ICLRec and ICSRec share."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.cluster import assign, kmeans
from graphcl.errors import InputError
from graphcl.objectives import NTXent


class Intents(nn.Module):
    """Centroids of states, found again before each epoch, and the contrast of states with them."""

    centroids: Tensor
    found: Tensor

    def __init__(
        self,
        n_intents: int,
        size: int,
        contrast: NTXent,
        *,
        mask_false_negatives: bool = True,
        n_init: int = 1,
        max_iter: int = 20,
        warm_start: bool = True,
    ) -> None:
        super().__init__()
        self.contrast, self.mask_false_negatives = contrast, mask_false_negatives
        self.n_init, self.max_iter, self.warm_start = n_init, max_iter, warm_start
        self.register_buffer("centroids", torch.zeros(n_intents, size))
        self.register_buffer("found", torch.zeros((), dtype=torch.bool))

    def find(self, states: Iterable[Tensor], generator: torch.Generator) -> None:
        """Cluster states, given in pieces [b, d]; continue from the last centroids if `warm_start`."""
        start = self.centroids if self.warm_start and bool(self.found) else None
        clusters = kmeans(
            torch.cat(list(states)),
            len(self.centroids),
            generator=generator,
            init=start,
            n_init=self.n_init,
            max_iter=self.max_iter,
        )
        self.centroids.copy_(clusters.centroids)
        self.found.fill_(True)

    def forward(self, state: Tensor, near: Tensor | None = None) -> Tensor:
        """Contrast states [B, d] with their intents, centroids scaled to length one; the mean over 2 B anchors.

        An intent is the centroid that is nearest to the state, or to the row of `near` [B, d]. States of one intent are
        not negatives of each other, if `mask_false_negatives`.
        """
        nearest, _ = assign((state if near is None else near).detach(), self.centroids)
        group = nearest if self.mask_false_negatives else None
        return self.contrast(state, F.normalize(self.centroids, dim=1)[nearest], group=group)

    def refuse_fewer(self, samples: int, what: str) -> None:
        """Raise `InputError` where there are fewer samples than intents."""
        if samples < len(self.centroids):
            raise InputError(
                f"n_intents: {len(self.centroids)} clusters need as many {what}, the training data has {samples}; "
                f"choose fewer intents, or give their loss the weight 0"
            )
