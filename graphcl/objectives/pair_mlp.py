"""A network that weighs pairs (AdaMEOW), with tanh without a tensor of pairs times hidden units."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from graphcl.ops import without_autocast

MOST_NODES = 16
"""Interpolation is cheaper than exponentials up to so many nodes per hidden unit."""


class PairMLP(nn.Module):
    """log w_ij = log sigmoid(w2 . activation(W1 (x_i + y_j) + b1) + b2), the weight net of AdaMEOW.

    W1 (x + y) = W1 x + W1 y: W1 is applied to rows, not to pairs. Other activations than tanh take a tensor
    [r, c, hidden_size]. With tanh, which can be differentiated once, a pair needs sum_k w_k tanh(p_ik + q_jk) of two
    rows, in one of two ways, equal to rounding:

    - Where the q of each unit lie close together, as those of unit rows do, tanh(p + q) is interpolated in q at
      Chebyshev nodes: one matrix product for all pairs and units (`interpolated`).
    - Else tanh(p + q) = 1 - 2 / (1 + e^2p e^2q): the exponentials are of rows, and one hidden unit after the other is
      a product, a division and a sum. p and q, the latter centred, are each held within what exponentials can bear (43
      in float32): only a unit whose rows lie more than twice as far apart says a pair weighs other than it should.
    """

    def __init__(
        self, embedding_size: int, hidden_size: int, activation: Callable[[Tensor], Tensor] = torch.tanh
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(embedding_size, hidden_size)
        self.out = nn.Linear(hidden_size, 1)
        self.activation = activation

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`x` [r, d], `y` [c, d] to log weights [r, c], all below 0."""
        p, q, weight = self.hidden(x), F.linear(y, self.hidden.weight), self.out.weight[0]
        if self.activation is not torch.tanh:
            return F.logsigmoid(self.out(self.activation(p[:, None] + q))[..., 0])
        centre, reach = interval(q.detach())
        nodes = nodes_needed(float(reach.max()), q.dtype)
        if nodes <= MOST_NODES:
            score = interpolated(p, q, weight, centre, reach, nodes)
        else:
            score = _SumOfTanh.apply(p + centre, q - centre, weight)
        return F.logsigmoid(score + self.out.bias)


def interval(q: Tensor) -> tuple[Tensor, Tensor]:
    """[h] the centre of each column's values, and how far they reach to either side."""
    low, high = q.aminmax(dim=0)
    return (low + high) / 2, ((high - low) / 2).clamp(min=1e-3)


def nodes_needed(reach: float, dtype: torch.dtype) -> int:
    """Chebyshev nodes that give tanh(p + q) to rounding for every real p and |q| <= `reach`.

    tanh is analytic up to pi / 2 from the real axis; with n nodes the error falls as rho^-n, where rho is the sum of
    the half axes of the ellipse through that pole (Trefethen, Approximation Theory and Approximation Practice, ch. 8).
    """
    pole = math.pi / (2 * reach)
    rho = pole + math.sqrt(1 + pole * pole)
    return 2 + math.ceil(-math.log(torch.finfo(dtype).eps) / math.log(rho)) if rho > 1 else MOST_NODES + 1


def interpolated(p: Tensor, q: Tensor, weight: Tensor, centre: Tensor, reach: Tensor, nodes: int) -> Tensor:
    """sum_k w_k tanh(p_ik + q_jk) by interpolation in q: p [r, h], q [c, h], w [h] -> [r, c]."""
    degree = torch.arange(nodes, dtype=torch.float64, device=p.device)
    angle = (degree + 0.5) * math.pi / nodes
    to_values = torch.cos(degree[:, None] * angle) * 2 / nodes  # [degree, node]
    to_values[0] /= 2
    position = (q - centre) / reach
    chebyshev = [torch.ones_like(position), position]
    while len(chebyshev) < nodes:
        chebyshev.append(2 * position * chebyshev[-1] - chebyshev[-2])
    share = torch.stack(chebyshev[:nodes], 2) @ to_values.to(p)  # [c, h, node] of the value at a node
    value = weight[:, None] * torch.tanh(p[..., None] + centre[:, None] + reach[:, None] * torch.cos(angle).to(p))
    return value.flatten(1) @ share.flatten(1).T


class _SumOfTanh(torch.autograd.Function):
    """sum_k w_k tanh(p_ik + q_jk): p [r, h], q [c, h], w [h] -> [r, c]."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, q: Tensor, weight: Tensor) -> Tensor:
        left, right = _exponentials(p, q)
        ctx.save_for_backward(left, right, weight)
        total = p.new_full((len(p), len(q)), float(weight.sum()))
        nearest = torch.empty_like(total)
        one = torch.ones((), dtype=p.dtype, device=p.device)
        for k, w in enumerate(weight.tolist()):
            torch.mm(left[k], right[k], out=nearest)
            total.addcdiv_(one, nearest, value=-2 * w)
        return total

    @staticmethod
    @without_autocast
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, right, weight = ctx.saved_tensors
        by_p, by_q = left.new_empty(len(weight), left.shape[1]), left.new_empty(len(weight), right.shape[2])
        by_weight = torch.empty_like(weight)
        everything = gradient.sum()
        ones_p, ones_q = gradient.new_ones(gradient.shape[0]), gradient.new_ones(gradient.shape[1])
        plus_one, share = torch.empty_like(gradient), torch.empty_like(gradient)
        for k in range(len(weight)):
            torch.mm(left[k], right[k], out=plus_one)
            torch.div(gradient, plus_one, out=share)  # g s, with tanh = 1 - 2 s
            torch.mv(share, ones_q, out=by_p[k])
            by_weight[k] = everything - 2 * by_p[k].sum()
            share.addcdiv_(share, plus_one, value=-1)  # g s (1 - s), a quarter of g (1 - tanh²)
            torch.mv(share, ones_q, out=by_p[k])
            torch.mv(share.T, ones_p, out=by_q[k])
        scale = 4 * weight[:, None]
        return (scale * by_p).T, (scale * by_q).T, by_weight


def _exponentials(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """[h, r, 2] and [h, 2, c] whose product is 1 + e^2p e^2q per hidden unit."""
    limit = 0.49 * torch.log(torch.tensor(torch.finfo(p.dtype).max, dtype=torch.float64)).item()
    left, right = ((2 * part.clamp(-limit, limit)).exp() for part in (p.T, q.T))
    return torch.stack([left, torch.ones_like(left)], 2), torch.stack([right, torch.ones_like(right)], 1)
