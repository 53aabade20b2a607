"""Half precision stores numbers; what sums many of them works in float32."""

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32: exp overflows the one at 11, a sum of ones in the other ends at 256."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
