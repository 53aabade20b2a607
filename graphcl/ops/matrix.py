"""A sparse matrix that is part of a module."""

import torch
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.ops.layout import degree, offsets, rows_of, sorted_csr


class SparseMatrix(nn.Module):
    """A sparse [R, C] matrix in compressed rows, with what its transpose needs.

    Everything is a non-persistent buffer: it follows `.to(device)` and `deepcopy`, and stays out of checkpoints.
    Entries are ordered by row, then column; entries given twice stay two and add up in products.
    """

    crow: Tensor
    """[R + 1] where each row begins."""
    col: Tensor
    """[E] column of each entry, int64 or int32."""
    value: Tensor
    """[E]"""
    _permutation: Tensor | None
    _value_t: Tensor | None
    _crow_t: Tensor | None
    _col_t: Tensor | None

    def __init__(self, crow: Tensor, col: Tensor, value: Tensor, num_cols: int) -> None:
        super().__init__()
        self.num_rows, self.num_cols = crow.numel() - 1, num_cols
        row = rows_of(crow, col.numel())
        # A stable sort by column leaves the rows of each column in order: the entries of the transpose.
        permutation = torch.argsort(col, stable=True).to(col.dtype)
        crow_t, col_t = offsets(degree(col, num_cols, dtype=col.dtype)), row.index_select(0, permutation)
        self.has_symmetric_pattern = torch.equal(crow, crow_t) and torch.equal(col, col_t)
        """Whether every entry (i, j) has a partner (j, i), so that the transpose shares the pattern."""
        value_t = value.index_select(0, permutation)
        self.is_symmetric = self.has_symmetric_pattern and torch.equal(value, value_t)
        """Whether the values agree as well, so that the transpose is the matrix itself."""
        self.register_buffer("crow", crow, persistent=False)
        self.register_buffer("col", col, persistent=False)
        self.register_buffer("value", value, persistent=False)
        # Most matrices keep their values, so that products need the values of the transpose and never the permutation.
        self.register_buffer("_value_t", None if self.is_symmetric else value_t, persistent=False)
        self.register_buffer("_permutation", None, persistent=False)
        shared = self.has_symmetric_pattern
        self.register_buffer("_crow_t", None if shared else crow_t, persistent=False)
        self.register_buffer("_col_t", None if shared else col_t, persistent=False)

    @classmethod
    def from_edges(
        cls, edge_index: Tensor, value: Tensor | None = None, *, shape: tuple[int, int] | int
    ) -> "SparseMatrix":
        """Matrix with an entry at every (row, column) of `edge_index` [2, E], in any order.

        `value` is [E], ones if absent; `shape` is (R, C), or N for a square matrix.
        """
        num_rows, num_cols = (shape, shape) if isinstance(shape, int) else shape
        value = torch.ones(edge_index.size(1), device=edge_index.device) if value is None else value
        check_edges(edge_index, value, num_rows, num_cols)
        crow, col, order = sorted_csr(edge_index, num_rows)
        return cls(crow, col, value[order], num_cols)

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)"""
        return self.num_rows, self.num_cols

    @property
    def num_edges(self) -> int:
        """E, the number of stored entries."""
        return self.col.numel()

    @property
    def permutation(self) -> Tensor:
        """[E] where each entry of the transpose, in its own order, stands in this matrix; made when first asked for."""
        if self._permutation is None:
            self._permutation = torch.argsort(self.col, stable=True).to(self.col.dtype)
        return self._permutation

    @property
    def value_t(self) -> Tensor:
        """[E] the values of the transpose, in its own order."""
        return self.value if self._value_t is None else self._value_t

    @property
    def row(self) -> Tensor:
        """[E] row of each entry."""
        return rows_of(self.crow, self.num_edges)

    @property
    def edge_index(self) -> Tensor:
        """[2, E] row and column of each entry."""
        return torch.stack([self.row, self.col])

    def with_value(self, value: Tensor) -> "SparseMatrix":
        """The same pattern with other values [E]; `InputError` where there are not as many."""
        if value.shape != self.col.shape:
            raise InputError(f"{self.num_edges} entries came with values of shape {tuple(value.shape)}")
        return SparseMatrix(self.crow, self.col, value.to(self.value.dtype), self.num_cols)

    def dense(self) -> Tensor:
        """[R, C]; for tests and tiny graphs."""
        table = self.value.new_zeros(self.num_rows, self.num_cols)
        return table.index_put_((self.row.long(), self.col.long()), self.value, accumulate=True)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.num_rows} x {self.num_cols}, {self.num_edges} entries"

    def pattern(self, transposed: bool) -> tuple[Tensor, Tensor, int]:
        """Row offsets, columns and number of columns of the matrix or of its transpose."""
        if not transposed:
            return self.crow, self.col, self.num_cols
        if self._crow_t is None or self._col_t is None:
            return self.crow, self.col, self.num_rows
        return self._crow_t, self._col_t, self.num_rows


def check_edges(edge_index: Tensor, value: Tensor, num_rows: int, num_cols: int) -> None:
    """Raise `InputError` unless these are edges [2, E] between so many rows and columns, with a value each."""
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.is_floating_point():
        raise InputError(
            f"edge_index must be integers of shape [2, E], got {edge_index.dtype} {tuple(edge_index.shape)}"
        )
    if value.shape != edge_index.shape[1:]:
        raise InputError(
            f"{edge_index.size(1)} edges came with values of shape {tuple(value.shape)}; give one for each"
        )
    for name, index, size in (("row", edge_index[0], num_rows), ("column", edge_index[1], num_cols)):
        if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < size):
            raise InputError(
                f"edge_index: {name}s must lie in 0..{size - 1}, got {int(index.min())}..{int(index.max())}"
            )
