"""Random changes of node features `x` of a graph; its edges stay."""

from typing import Any

import torch

from graphcl.views.random import RandomView, check_ratio, features_of


class FeatureMask(RandomView):
    """Sets round(`ratio` * F) features to zero, the same for all nodes of a type (GRACE; Zhu et al., 2020)."""

    def __init__(self, ratio: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.ratio = check_ratio("mask ratio", ratio)

    def forward(self, data: Any) -> Any:
        """Mask the columns of every `x`."""
        for store in data.node_stores:
            if "x" in store:
                x = features_of(store, self)
                store.x = x.masked_fill(self.choose(x.size(1), self.ratio, x.device), 0)
        return data


class FeatureShuffle(RandomView):
    """Deals the rows of `x` anew among round(`ratio` * N) nodes of each type; ratio 1 is DGI's corruption.

    DGI: Velickovic et al., ICLR 2019.
    """

    def __init__(self, ratio: float = 1.0, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.ratio = check_ratio("shuffle ratio", ratio)

    def forward(self, data: Any) -> Any:
        """Permute rows of every `x`."""
        for store in data.node_stores:
            if "x" in store:
                x = features_of(store, self)
                rows = self.choose(x.size(0), self.ratio, x.device).nonzero().flatten()
                order = torch.randperm(len(rows), generator=self.generator, device=self.generator.device)
                source = torch.arange(x.size(0), device=x.device)
                source[rows] = rows[order.to(rows.device)]
                store.x = x[source]
        return data
