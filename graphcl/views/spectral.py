"""The low-rank view of a graph: what its largest singular vectors say (LightGCL; Cai et al., ICLR 2023)."""

import torch
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.ops import SparseMatrix, spmm

_OVERSAMPLING = 8
"""Directions beyond the rank that the subspace carries (Halko et al., SIAM Review 2011, section 4.2)."""


@torch.no_grad()
def randomized_svd(
    matrix: SparseMatrix, rank: int, *, generator: torch.Generator, n_iter: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` largest singular triples (U [R, q], S [q], V [C, q]) by subspace iteration on a random start.

    The generator lives on the matrix's device. Exact up to the gap between singular values q and q + 8, raised to the
    power `2 n_iter + 1`.
    """
    if not 1 <= rank <= min(matrix.shape):
        raise InputError(f"rank: a {matrix.num_rows} x {matrix.num_cols} matrix has no {rank} singular vectors")
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    value = matrix.value
    start = torch.randn(matrix.num_cols, width, generator=generator, device=value.device, dtype=value.dtype)
    left = torch.linalg.qr(spmm(matrix, start)).Q
    for _ in range(n_iter):
        right = torch.linalg.qr(spmm(matrix, left, transpose=True)).Q
        left = torch.linalg.qr(spmm(matrix, right)).Q
    small = spmm(matrix, left, transpose=True)
    v, s, u = torch.linalg.svd(small, full_matrices=False)
    return left @ u[:rank].T, s[:rank], v[:, :rank]


class LowRank(nn.Module):
    r"""$U_q \Sigma_q V_q^\top$ in place of a matrix: every row hears of every column, through `rank` channels."""

    left: Tensor
    """[R, q] the left vectors, times the singular values."""
    right: Tensor
    """[C, q] the right vectors."""

    def __init__(self, matrix: SparseMatrix, rank: int, *, generator: torch.Generator) -> None:
        super().__init__()
        u, s, v = randomized_svd(matrix, rank, generator=generator)
        self.register_buffer("left", u * s, persistent=False)
        self.register_buffer("right", v, persistent=False)

    def forward(self, x: Tensor, *, transpose: bool = False) -> Tensor:
        """[C, d] -> [R, d], or with the transposed matrix [R, d] -> [C, d]."""
        if transpose:
            return self.right @ (self.left.T @ x)
        return self.left @ (self.right.T @ x)
