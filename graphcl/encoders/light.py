"""Propagation without weights (LightGCN; He et al., SIGIR 2020)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphcl.ops import SparseMatrix, spmm


def layers(
    matrix: SparseMatrix | Sequence[SparseMatrix],
    x: Tensor,
    n_layers: int,
    *,
    view: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    r"""$x, Ax, \dots, A^L x$, each [N, d].

    A sequence gives every layer a matrix of its own; `view` changes every layer but the first before it goes on.
    """
    matrices = [matrix] * n_layers if isinstance(matrix, SparseMatrix) else matrix
    found = [x]
    for step in matrices:
        message = spmm(step, found[-1])
        found.append(message if view is None else view(message))
    return found


def perturbed(matrix: SparseMatrix, clean: Sequence[Tensor], view: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What `layers` with this view gives, from the layers without one, where no gradient flows into what it adds.

    Propagation is linear: such a view moves every layer by a constant, which is carried on beside it. Several views of
    one table share its propagation, and all its backward passes.
    """
    found, moved = [clean[0]], None
    for table in clean[1:]:
        with torch.no_grad():
            moved = view(table if moved is None else table + spmm(matrix, moved)) - table
        found.append(table + moved)
    return found


def mean(tables: Sequence[Tensor]) -> Tensor:
    """Mean of tables of one shape, without stacking them."""
    total = tables[0]
    for table in tables[1:]:
        total = total + table
    return total / len(tables)


def light(matrix: SparseMatrix | Sequence[SparseMatrix], x: Tensor, n_layers: int) -> Tensor:
    r"""$\frac{1}{L + 1} \sum_{l=0}^{L} A^l x$ (eq. 4 with equal weights): [N, d] -> [N, d].

    With one matrix by Horner's rule, $x + A(x + A(x + \dots))$, which keeps no layer and allocates half as much.
    """
    if not isinstance(matrix, SparseMatrix):
        return mean(layers(matrix, x, n_layers))
    share = total = x / (n_layers + 1)
    for _ in range(n_layers):
        total = spmm(matrix, total).add_(share)
    return total
