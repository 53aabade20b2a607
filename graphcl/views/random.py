"""What random views share: a generator of their own, and the same view again on request."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.storage import NodeStorage
from torch_geometric.transforms import BaseTransform

from graphcl.errors import InputError


class RandomView(BaseTransform):
    """A transform that draws from its own generator; nodes keep their numbers, so that views can be contrasted.

    generator: where draws come from, on any device. Without it the view gets a fresh one, whose seed is drawn from
    PyTorch's global generator: two such views differ, and `torch.manual_seed` before they are made repeats them.
    """

    parts: Sequence[Callable[[Any], Any]] = ()
    """The views that this one is made of; what they draw is drawn again with it. PyG's own random transforms, which
    draw from PyTorch's global generator, may be among them."""

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        self.generator = generator or torch.Generator().manual_seed(int(torch.randint(2**63 - 1, ())))
        self._states: list[Tensor] = []
        self._global = torch.empty(0)

    def __call__(self, data: Any) -> Any:
        """A new view; `data` is not changed."""
        self._states = [generator.get_state() for generator in generators_of(self)]
        self._global = torch.get_rng_state()
        return super().__call__(data)

    def again(self, data: Any) -> Any:
        """The view that the last call drew, once more; the next call draws as if nobody had asked."""
        if not self._states:
            raise InputError(f"{type(self).__name__}: there is no view to show again; draw one first")
        generators = generators_of(self)
        later = [generator.get_state() for generator in generators]
        try:
            for generator, state in zip(generators, self._states, strict=True):
                generator.set_state(state)
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self._global)
                return super().__call__(data)
        finally:
            for generator, state in zip(generators, later, strict=True):
                generator.set_state(state)

    def rand(self, *size: int, device: torch.device) -> Tensor:
        """Uniform numbers in [0, 1). They are drawn where the generator lives: the view is the same on any device."""
        return torch.rand(*size, generator=self.generator, device=self.generator.device).to(device)

    def choose(self, count: int, ratio: float, device: torch.device) -> Tensor:
        """[count] bool: round(ratio * count) of them True, each equally likely."""
        order = torch.randperm(count, generator=self.generator, device=self.generator.device)
        chosen = torch.zeros(count, dtype=torch.bool)
        chosen[order[: round(ratio * count)].cpu()] = True
        return chosen.to(device)


class Compose(RandomView):
    """Views one after another, as PyG's `Compose`, whose result can be had again."""

    def __init__(self, views: Sequence[Callable[[Any], Any]]) -> None:
        super().__init__()
        self.parts = tuple(views)

    def forward(self, data: Any) -> Any:
        """Apply every view."""
        for view in self.parts:
            data = view(data)
        return data


class RandomChoice(RandomView):
    """One of several views, drawn with the given weights (equal if absent)."""

    def __init__(
        self,
        views: Sequence[Callable[[Any], Any]],
        weights: Sequence[float] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        if not views or (weights is not None and len(weights) != len(views)):
            raise InputError("RandomChoice needs at least one view, and one weight for each where weights are given")
        self.parts = tuple(views)
        self.weights = torch.tensor([1.0] * len(views) if weights is None else list(weights))
        if bool((self.weights < 0).any()) or not bool(self.weights.sum() > 0):
            raise InputError(f"weights: must not be negative, nor all zero, got {weights}")

    def forward(self, data: Any) -> Any:
        """Apply the drawn view."""
        share = self.weights.cumsum(0) / self.weights.sum()
        drawn = torch.searchsorted(share, self.rand(1, device=share.device), right=True)
        return self.parts[min(int(drawn), len(self.parts) - 1)](data)


def generators_of(view: Any) -> list[torch.Generator]:
    """Every generator that a view and its parts draw from, each once."""
    found = {id(view.generator): view.generator} if isinstance(view, RandomView) else {}
    for part in getattr(view, "parts", ()) or getattr(view, "transforms", ()):
        found |= {id(generator): generator for generator in generators_of(part)}
    return list(found.values())


def check_graph(data: Any, view: BaseTransform, *, typed: bool = False) -> None:
    """Raise `InputError` where a view cannot work on this graph; typed: whether it can on `HeteroData`."""
    name = type(view).__name__
    if not typed and not isinstance(data, Data):
        raise InputError(f"{name}: changes graphs of one type of node; make a Data of one, got {type(data).__name__}")
    if any("edge_index" not in store for store in data.edge_stores):
        raise InputError(f"{name}: the graph has no edges to change; set its edge_index, empty if there is no edge")
    if isinstance(data, HeteroData) and any(store.num_nodes is None for store in data.node_stores):
        raise InputError(f"{name}: a type of node has neither features nor num_nodes; set its num_nodes")


def features_of(store: NodeStorage, view: BaseTransform) -> Tensor:
    """The dense features `x` of a type of node, or an error where they are sparse."""
    x: Tensor = store.x
    if x.layout != torch.strided:
        raise InputError(f"{type(view).__name__}: changes dense features x; call their to_dense() first")
    return x


def check_ratio(name: str, ratio: float) -> float:
    """`ratio`, or an error where it is not a share."""
    if not 0 <= ratio <= 1:
        raise InputError(f"{name} must lie between 0 and 1, got {ratio}")
    return ratio
