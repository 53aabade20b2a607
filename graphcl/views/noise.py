"""Views of embeddings by noise: [N, d] -> [N, d], and the same for the features of a graph."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphcl.views.random import RandomView, features_of


def signed_noise(x: Tensor, size: float, generator: torch.Generator) -> Tensor:
    r"""$x + \epsilon \, \mathrm{sign}(x) \odot u / |u|$ with $u$ uniform in $[0, 1)^d$: [N, d] -> [N, d].

    Every row without zeros moves by `size`, within its own orthant (SimGCL; Yu et al., SIGIR 2022, eq. 7); a zero
    stays, so that a row of few numbers hardly moves. The generator lives on the device of `x`; no gradient flows into
    the noise.
    """
    noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return torch.addcmul(x, x.detach().sign(), F.normalize(noise, dim=-1), value=size)


class SignedNoise(RandomView):
    """`signed_noise` of length `size` on every `x` of a graph."""

    def __init__(self, size: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.size = size

    def forward(self, data: Any) -> Any:
        """Move the rows of every `x`."""
        for store in data.node_stores:
            if "x" in store:
                # Drawn where the generator lives, as in all views of graphs.
                x = features_of(store, self)
                store.x = signed_noise(x.to(self.generator.device), self.size, self.generator).to(x.device)
        return data
