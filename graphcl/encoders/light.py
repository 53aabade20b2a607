"""Propagation without weights (LightGCN; He et al., SIGIR 2020)."""

from collections.abc import Sequence

from torch import Tensor

from graphcl.ops import SparseMatrix, spmm


def layers(matrix: SparseMatrix | Sequence[SparseMatrix], x: Tensor, n_layers: int) -> list[Tensor]:
    r"""$x, Ax, \dots, A^L x$, each [N, d]; a sequence gives every layer a matrix of its own."""
    matrices = [matrix] * n_layers if isinstance(matrix, SparseMatrix) else matrix
    found = [x]
    for step in matrices:
        found.append(spmm(step, found[-1]))
    return found


def light(matrix: SparseMatrix | Sequence[SparseMatrix], x: Tensor, n_layers: int) -> Tensor:
    r"""$\frac{1}{L + 1} \sum_{l=0}^{L} A^l x$ (eq. 4 with equal weights): [N, d] -> [N, d]."""
    found = layers(matrix, x, n_layers)
    total = found[0]
    for layer in found[1:]:
        total = total + layer
    return total / len(found)
