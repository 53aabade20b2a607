"""Nodes as soft mixtures of global prototypes."""

from typing import Any

import torch
from torch import Tensor

from graphcl.ops import refuse_second_derivative, without_autocast

_CELLS = 1 << 18
"""Rows x prototypes of a block: 1 MB in float32."""


def intent_mixture(x: Tensor, prototypes: Tensor) -> Tensor:
    r"""$\mathrm{softmax}_K(x C)\, C^\top$: [n, d], [d, K] -> [n, d] (DCCF, eq. 6; Ren et al., SIGIR 2023).

    The [n, K] assignment is not kept but computed again in the backward pass, on the CPU in blocks: memory is
    O(n d + d K) there.
    """
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = _IntentMixture.apply(x.to(prototypes.dtype), prototypes)
    return result


class _IntentMixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, prototypes: Tensor) -> Tensor:
        x, prototypes = x.detach(), prototypes.detach()
        ctx.save_for_backward(x, prototypes)
        out = torch.empty_like(x)
        for rows in _blocks(x, prototypes):
            torch.mm((x[rows] @ prototypes).softmax(1), prototypes.T, out=out[rows])
        return out

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        refuse_second_derivative("intent_mixture")
        (gradient,) = gradients
        x, prototypes = ctx.saved_tensors
        by_x, by_prototypes = torch.empty_like(x), torch.zeros_like(prototypes)
        for rows in _blocks(x, prototypes):
            share = (x[rows] @ prototypes).softmax(1)
            by_prototypes.addmm_(gradient[rows].T, share)
            by_logit = torch.ops.aten._softmax_backward_data(gradient[rows] @ prototypes, share, 1, share.dtype)
            by_prototypes.addmm_(x[rows].T, by_logit)
            torch.mm(by_logit, prototypes.T, out=by_x[rows])
        return by_x, by_prototypes


def _blocks(x: Tensor, prototypes: Tensor) -> list[slice]:
    size = max(1, _CELLS // prototypes.size(1)) if not x.is_cuda else len(x)
    return [slice(start, min(start + size, len(x))) for start in range(0, len(x), max(1, size))]
