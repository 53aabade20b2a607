"""The one file that knows sparse kernels: matrices, their product, degrees and reductions over segments.

Rows receive, columns send: entry (i, j) carries row j of the input to row i of the output. The kernels were chosen by
measurement (`benchmarks/speed_ops.py`): `embedding_bag` over CSR for float32 on the CPU, CSR products elsewhere,
`sampled_addmm` for the gradient of values. Autograd never differentiates a sparse tensor: that allocates N x N.
"""

import importlib
import importlib.util
import warnings
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphcl.errors import InputError


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
    permutation: Tensor
    """[E] where each entry of the transpose, in its own order, stands in this matrix."""
    _crow_t: Tensor | None
    _col_t: Tensor | None

    def __init__(self, crow: Tensor, col: Tensor, value: Tensor, num_cols: int) -> None:
        super().__init__()
        self.num_rows, self.num_cols = crow.numel() - 1, num_cols
        row = rows_of(crow, col.numel())
        # A stable sort by column leaves the rows of each column in order: the entries of the transpose.
        permutation = torch.argsort(col, stable=True).to(col.dtype)
        crow_t, col_t = _offsets(degree(col, num_cols, dtype=col.dtype)), row.index_select(0, permutation)
        self.has_symmetric_pattern = torch.equal(crow, crow_t) and torch.equal(col, col_t)
        """Whether every entry (i, j) has a partner (j, i), so that the transpose shares the pattern."""
        self.is_symmetric = self.has_symmetric_pattern and torch.equal(value, value.index_select(0, permutation))
        """Whether the values agree as well, so that the transpose is the matrix itself."""
        self.register_buffer("crow", crow, persistent=False)
        self.register_buffer("col", col, persistent=False)
        self.register_buffer("value", value, persistent=False)
        self.register_buffer("permutation", permutation, persistent=False)
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
        _check_edges(edge_index, value, num_rows, num_cols)
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
    def row(self) -> Tensor:
        """[E] row of each entry."""
        return rows_of(self.crow, self.num_edges)

    @property
    def edge_index(self) -> Tensor:
        """[2, E] row and column of each entry."""
        return torch.stack([self.row, self.col])

    def with_value(self, value: Tensor) -> "SparseMatrix":
        """The same pattern with other values [E]."""
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


def spmm(matrix: SparseMatrix, x: Tensor, value: Tensor | None = None, *, transpose: bool = False) -> Tensor:
    """Sparse times dense: [R, C] x [C, d] -> [R, d]; `out[i] = sum_j value[i, j] x[j]`.

    value: [E] instead of the matrix's own, in its order; gradients reach it and `x`, to any order.
    transpose: multiply by the transposed matrix instead, [R, d] -> [C, d].

    Half precision is computed in float32 and rounded once.
    """
    width = matrix.num_rows if transpose else matrix.num_cols
    if x.dim() != 2 or x.size(0) != width:
        raise InputError(f"spmm: a {matrix.extra_repr()} matrix cannot multiply a tensor of shape {tuple(x.shape)}")
    if x.dtype in (torch.float16, torch.bfloat16):
        return spmm(matrix, x.float(), None if value is None else value.float(), transpose=transpose).to(x.dtype)
    result: Tensor = _Product.apply(matrix, x, value, transpose)
    return result


def edge_dot(matrix: SparseMatrix, a: Tensor, b: Tensor) -> Tensor:
    """Inner products along the entries: `out[e] = a[row(e)] . b[col(e)]`, [R, d], [C, d] -> [E]; nothing [E, d]."""
    if a.dtype in (torch.float16, torch.bfloat16):
        return edge_dot(matrix, a.float(), b.float()).to(a.dtype)
    result: Tensor = _EdgeDot.apply(matrix, a, b)
    return result


class _Product(torch.autograd.Function):
    """`spmm`; its backward is made of `spmm` and `edge_dot`, which makes derivatives of any order."""

    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, x: Tensor, value: Tensor | None, transpose: bool) -> Tensor:
        ctx.matrix, ctx.transpose = matrix, transpose
        ctx.save_for_backward(x, value)
        # The values of a symmetric matrix need no permutation; those of a caller may.
        own = value is None
        weight = matrix.value.to(x.dtype) if value is None else value.detach()
        if transpose and not (own and matrix.is_symmetric):
            weight = weight.index_select(0, matrix.permutation)
        crow, col, num_cols = matrix.pattern(transpose)
        return _multiply(crow, col, weight, x.detach().contiguous(), num_cols)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        x, value = ctx.saved_tensors
        by_x = by_value = None
        if ctx.needs_input_grad[1]:
            by_x = _Product.apply(ctx.matrix, gradient, value, not ctx.transpose)
        if ctx.needs_input_grad[2]:
            pair = (x, gradient) if ctx.transpose else (gradient, x)
            by_value = _EdgeDot.apply(ctx.matrix, *pair)
        return None, by_x, by_value, None


class _EdgeDot(torch.autograd.Function):
    """`edge_dot`."""

    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, a: Tensor, b: Tensor) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(a, b)
        return _sampled_product(matrix, a.detach().contiguous(), b.detach().contiguous())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        a, b = ctx.saved_tensors
        by_a = _Product.apply(ctx.matrix, b, gradient, False) if ctx.needs_input_grad[1] else None
        by_b = _Product.apply(ctx.matrix, a, gradient, True) if ctx.needs_input_grad[2] else None
        return None, by_a, by_b


def _multiply(crow: Tensor, col: Tensor, value: Tensor, x: Tensor, num_cols: int) -> Tensor:
    """The kernel. `embedding_bag` is 3-19 times faster than any other in float32 on the CPU, and slow in float64."""
    if not col.numel() or not x.numel():
        return x.new_zeros(crow.numel() - 1, x.size(1))
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return F.embedding_bag(
            col, x, crow, mode="sum", per_sample_weights=value.contiguous(), include_last_offset=True
        )
    return _csr(crow, col, value, num_cols) @ x


def _sampled_product(matrix: SparseMatrix, a: Tensor, b: Tensor) -> Tensor:
    if not matrix.num_edges:
        return a.new_zeros(0)
    if matrix.num_edges > matrix.num_rows * matrix.num_cols:  # torch refuses; only repeated entries come here
        return (a.index_select(0, matrix.row) * b.index_select(0, matrix.col)).sum(1)
    zeros = _csr(matrix.crow, matrix.col, a.new_zeros(matrix.num_edges), matrix.num_cols)
    return torch.sparse.sampled_addmm(zeros, a, b.T, beta=0.0).values()


def _csr(crow: Tensor, col: Tensor, value: Tensor, num_cols: int) -> Tensor:
    _silence_beta_warnings()
    return torch.sparse_csr_tensor(crow, col, value, (crow.numel() - 1, num_cols), check_invariants=False)


@cache
def _silence_beta_warnings() -> None:
    """Torch warns once in a process that CSR is young; let that once be here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        offsets = torch.tensor([0, 1])
        torch.sparse_csr_tensor(offsets, offsets[:1], torch.ones(1), (1, 1))


def refuse_second_derivative(name: str) -> None:
    """Called at the head of a backward pass that cannot be differentiated: silence would give wrong numbers."""
    if torch.is_grad_enabled():
        raise InputError(
            f"{name} can be differentiated once, but a second derivative was asked for (create_graph=True); "
            f"write the step with spmm and edge_dot, or use the dense form of the objective"
        )


def unit_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows over their norm, and the norms [N, 1], kept above 1e-12: what `F.normalize` computes."""
    norm = x.norm(dim=1, keepdim=True).clamp_(min=1e-12)
    return x / norm, norm


def through_unit_rows(unit: Tensor, norm: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of x from that of its unit rows, in place of `gradient`: the part along the row vanishes."""
    along = (unit * gradient).sum(1, keepdim=True)
    # A row shorter than the bound was divided by a constant.
    along.masked_fill_(norm <= 1e-12, 0.0)
    return gradient.addcmul_(unit, along, value=-1).div_(norm)


# Degrees and normalisation.


def degree(
    index: Tensor, num_nodes: int, weight: Tensor | None = None, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """[num_nodes] how often each node occurs in `index` [E], or the sum of its weights [E]."""
    if weight is None:
        return torch.bincount(index, minlength=num_nodes).to(dtype)
    return weight.new_zeros(num_nodes).index_add_(0, index, weight)


def normalize(
    edge_index: Tensor,
    num_nodes: int | tuple[int, int],
    weight: Tensor | None = None,
    *,
    by: Literal["both", "row"] = "both",
) -> Tensor:
    r"""[E] weights of the edges [2, E] (rows, columns) over their degrees; differentiable in `weight`.

    by "both": $w_{ij} / \sqrt{d_i d_j}$ with the sums of rows $d_i$ and of columns $d_j$ (Kipf & Welling, ICLR 2017);
    by "row": $w_{ij} / d_i$. A node whose degree is zero sends and receives nothing: no infinity, no NaN.
    """
    num_rows, num_cols = (num_nodes, num_nodes) if isinstance(num_nodes, int) else num_nodes
    row, col = edge_index
    weight = torch.ones(row.numel(), device=row.device) if weight is None else weight
    by_row = degree(row, num_rows, weight)
    if by == "row":
        return weight * _power(by_row, -1.0).index_select(0, row)
    by_col = degree(col, num_cols, weight)
    # The bracket makes the values of a symmetric graph symmetric to the last bit.
    return weight * (_power(by_row, -0.5).index_select(0, row) * _power(by_col, -0.5).index_select(0, col))


def _power(degrees: Tensor, exponent: float) -> Tensor:
    """`degrees ** exponent`, zero where the degree is; the inner `where` keeps NaN out of the gradient."""
    positive = degrees > 0
    return torch.where(positive, torch.where(positive, degrees, 1.0) ** exponent, 0.0)


def symmetric_adjacency(edge_index: Tensor, num_nodes: int, weight: Tensor | None = None) -> SparseMatrix:
    r"""$D^{-1/2} A D^{-1/2}$ of an undirected graph given with both directions of each edge."""
    value = normalize(edge_index, num_nodes, weight)
    return SparseMatrix.from_edges(edge_index, value, shape=num_nodes)


# Reductions over the segments of a compressed array.

Reduction = Literal["sum", "mean", "max", "min"]
Backend = Literal["auto", "native", "scatter"]


def sorted_csr(edge_index: Tensor, num_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row offsets [R + 1] and columns [E] of edges [2, E] in any order, and the order [E] that sorts them."""
    row, col = edge_index
    # Two stable sorts, last key first: a single key row * C + column would overflow int32.
    order = torch.argsort(col, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    return _offsets(degree(row, num_rows, dtype=row.dtype)), col[order], order


def rows_of(crow: Tensor, num_edges: int) -> Tensor:
    """[E] the segment of each entry, in the dtype of `crow`."""
    numbers = torch.arange(crow.numel() - 1, device=crow.device, dtype=crow.dtype)
    return torch.repeat_interleave(numbers, crow.diff(), output_size=num_edges)


def segment_reduce(values: Tensor, crow: Tensor, reduce: Reduction = "sum", *, backend: Backend = "auto") -> Tensor:
    """Reduce `values[crow[r]:crow[r + 1]]` for each r: [E, ...] -> [R, ...]; an empty segment gives 0.

    backend: "scatter" needs torch-scatter; "auto" takes it where it is installed and wins, which is for extrema on
    CUDA. Among equal extrema the gradient is shared (native) or goes to one (scatter).
    """
    if backend == "scatter" or (backend == "auto" and reduce in ("max", "min") and values.is_cuda and has_scatter()):
        scatter = importlib.import_module("torch_scatter")
        result: Tensor = scatter.segment_csr(values, crow.long(), reduce=reduce)
        return result
    row = rows_of(crow, values.size(0))
    empty = values.new_zeros(crow.numel() - 1, *values.shape[1:])
    if reduce == "sum":
        return empty.index_add(0, row, values)
    if reduce == "mean":
        count = crow.diff().clamp(min=1).view(-1, *[1] * (values.dim() - 1))
        return empty.index_add(0, row, values) / count
    index = row.long().view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    return empty.scatter_reduce(0, index, values, "amax" if reduce == "max" else "amin", include_self=False)


def segment_softmax(scores: Tensor, crow: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Softmax within each segment: [E, ...] -> [E, ...]; the attention over the entries of each row."""
    row = rows_of(crow, scores.size(0))
    peak = segment_reduce(scores.detach(), crow, "max", backend=backend)
    weight = (scores - peak.index_select(0, row)).exp()
    return weight / segment_reduce(weight, crow, "sum", backend=backend).index_select(0, row)


@cache
def has_scatter() -> bool:
    """Whether torch-scatter is installed."""
    return importlib.util.find_spec("torch_scatter") is not None


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0, dtype=counts.dtype)])


def _check_edges(edge_index: Tensor, value: Tensor, num_rows: int, num_cols: int) -> None:
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
