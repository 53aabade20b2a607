"""Views of embeddings by noise: [N, d] -> [N, d]."""

import torch
import torch.nn.functional as F
from torch import Tensor


def signed_noise(x: Tensor, size: float, generator: torch.Generator) -> Tensor:
    r"""$x + \epsilon \, \mathrm{sign}(x) \odot u / |u|$ with $u$ uniform in $[0, 1)^d$: [N, d] -> [N, d].

    Every row moves by `size`, within its own orthant (SimGCL; Yu et al., SIGIR 2022, eq. 7). The generator lives on
    the device of `x`; no gradient flows into the noise.
    """
    noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return torch.addcmul(x, x.detach().sign(), F.normalize(noise, dim=-1), value=size)
