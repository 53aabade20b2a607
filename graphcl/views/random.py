"""What random views share: a generator of their own, and the same view again on request."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import InputError


class RandomView(BaseTransform):
    """A transform that draws from its own generator; nodes keep their numbers, so that views can be contrasted.

    generator: where draws come from, on any device; a fresh one with a fixed seed if absent.
    """

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        self.generator = generator or torch.Generator().manual_seed(0)
        self._state = self.generator.get_state()

    def __call__(self, data: Any) -> Any:
        """A new view; `data` is not changed."""
        self._state = self.generator.get_state()
        return super().__call__(data)

    def again(self, data: Any) -> Any:
        """The view that the last call drew, once more."""
        later = self.generator.get_state()
        self.generator.set_state(self._state)
        view = super().__call__(data)
        self.generator.set_state(later)
        return view

    def rand(self, *size: int, device: torch.device) -> Tensor:
        """Uniform numbers in [0, 1). They are drawn where the generator lives: the view is the same on any device."""
        return torch.rand(*size, generator=self.generator, device=self.generator.device).to(device)

    def choose(self, count: int, ratio: float, device: torch.device) -> Tensor:
        """[count] bool: round(ratio * count) of them True, each equally likely."""
        order = torch.randperm(count, generator=self.generator, device=self.generator.device)
        chosen = torch.zeros(count, dtype=torch.bool)
        chosen[order[: round(ratio * count)].cpu()] = True
        return chosen.to(device)


class RandomChoice(RandomView):
    """One of several views, drawn with the given weights (equal if absent). `Compose` of PyG makes chains."""

    def __init__(
        self,
        views: Sequence[BaseTransform],
        weights: Sequence[float] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        if not views or (weights is not None and len(weights) != len(views)):
            raise InputError("RandomChoice needs at least one view, and one weight for each where weights are given")
        self.views = list(views)
        self.weights = torch.tensor([1.0] * len(views) if weights is None else list(weights))

    def forward(self, data: Any) -> Any:
        """Apply the drawn view."""
        share = self.weights.cumsum(0) / self.weights.sum()
        drawn = torch.searchsorted(share, self.rand(1, device=share.device), right=True)
        return self.views[min(int(drawn), len(self.views) - 1)](data)


def check_ratio(name: str, ratio: float) -> float:
    """`ratio`, or an error where it is not a share."""
    if not 0 <= ratio <= 1:
        raise InputError(f"{name} must lie between 0 and 1, got {ratio}")
    return ratio
