"""The exponential of every pair of a contrast, without the slow paths of a vendor's library."""

from math import e, log2

from torch import Tensor


def exp_(x: Tensor) -> Tensor:
    """e^x in place, of a tensor that needs no gradient; `x` is returned.

    On the CPU PyTorch leaves `exp` to a vendor's library, whose results below 1e-38, common where logits are far
    apart, take it 10 to 40 times as long; `exp2` is PyTorch's own: twice as fast for plain numbers on a Zen 4, and
    for small ones as well. The relative error grows by |x| times that of one multiplication. On a GPU, where memory is
    the limit, it would be one pass more.
    """
    return x.exp_() if x.is_cuda else x.mul_(log2(e)).exp2_()
