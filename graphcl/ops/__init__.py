"""The one place that knows sparse kernels: matrices, their product, degrees and reductions over segments.

Rows receive, columns send: entry (i, j) carries row j of the input to row i of the output.
"""

from graphcl.ops.adjacency import normalize, symmetric_adjacency
from graphcl.ops.exponential import exp_
from graphcl.ops.gradients import refuse_second_derivative, through_unit_rows, unit_rows, without_autocast
from graphcl.ops.layout import degree, rows_of, sorted_csr
from graphcl.ops.matrix import SparseMatrix
from graphcl.ops.precision import full_precision
from graphcl.ops.product import edge_dot, spmm
from graphcl.ops.segments import has_scatter, segment_reduce, segment_softmax

__all__ = [
    "SparseMatrix",
    "degree",
    "edge_dot",
    "exp_",
    "full_precision",
    "has_scatter",
    "normalize",
    "refuse_second_derivative",
    "rows_of",
    "segment_reduce",
    "segment_softmax",
    "sorted_csr",
    "spmm",
    "symmetric_adjacency",
    "through_unit_rows",
    "unit_rows",
    "without_autocast",
]
