"""Propagation without weights (LightGCN; He et al., SIGIR 2020)."""

from collections.abc import Callable, Sequence

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
