"""A loss that is not finite is an error that names the row, never a number that training goes on with."""

import torch
from torch import Tensor

from graphcl.errors import NotFiniteLossError


def finite(loss: Tensor, **rows: Tensor | None) -> Tensor:
    """Return `loss`, or raise where it is not finite, naming the first bad row among `rows` by keyword.

    Raises:
        NotFiniteLossError: an `InputError` that is a `NotFiniteError`, too.
    """
    if torch.isfinite(loss.detach()).all():
        return loss
    for name, values in rows.items():
        bad = None if values is None else (~torch.isfinite(values)).any(1).nonzero()
        if bad is not None and len(bad):
            what = name.replace("_", " ")
            raise NotFiniteLossError(
                f"The contrastive loss is not finite: row {int(bad[0])} of {what} holds NaN or infinity."
            )
    raise NotFiniteLossError(
        "The contrastive loss is not finite although its rows are: the logits overflow, or a weight or temperature is "
        "NaN, 0 or negative; lower the norm of the rows, use similarity=cosine or raise the temperature."
    )
