"""Reductions over the segments of a compressed array; the one place that knows torch-scatter."""

import importlib
import importlib.util
from functools import cache
from typing import Literal, get_args

from torch import Tensor

from graphcl.errors import InputError, refuse_unknown_word
from graphcl.ops.layout import rows_of
from graphcl.ops.precision import full_precision

Reduction = Literal["sum", "mean", "max", "min"]
Backend = Literal["auto", "native", "scatter"]


def segment_reduce(values: Tensor, crow: Tensor, reduce: Reduction = "sum", *, backend: Backend = "auto") -> Tensor:
    """Reduce `values[crow[r]:crow[r + 1]]` for each r: [E, ...] -> [R, ...]; an empty segment gives 0.

    backend: "scatter" needs torch-scatter; "auto" takes it where it is installed and wins, which is for extrema on
    CUDA. Among equal extrema the gradient is shared (native) or goes to one (scatter).
    Half precision is computed in float32 and rounded once.

    Raises `InputError` for an unknown word, and where torch-scatter is asked for and not installed.
    """
    refuse_unknown_word("reduce", reduce, get_args(Reduction))
    refuse_unknown_word("backend", backend, get_args(Backend))
    if backend == "scatter" and not has_scatter():
        raise InputError("backend: 'scatter' needs the package torch-scatter; install it, or take 'native' or 'auto'.")
    if (wide := full_precision(values)) is not values:
        return segment_reduce(wide, crow, reduce, backend=backend).to(values.dtype)
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
    if (wide := full_precision(scores)) is not scores:
        return segment_softmax(wide, crow, backend=backend).to(scores.dtype)
    row = rows_of(crow, scores.size(0))
    peak = segment_reduce(scores.detach(), crow, "max", backend=backend)
    weight = (scores - peak.index_select(0, row)).exp()
    return weight / segment_reduce(weight, crow, "sum", backend=backend).index_select(0, row)


@cache
def has_scatter() -> bool:
    """Whether torch-scatter is installed."""
    return importlib.util.find_spec("torch_scatter") is not None
