"""The sparse product and its gradients: ours beside torch's CSR and COO, PyG's message passing and torch-scatter.

The graph is random with power-law degrees. Times are CPU milliseconds on one thread, the best of several rounds in
which contestants alternate; before that, every form must give the same result.
"""

import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch_geometric.nn import LGConv

from benchmarks.speed_result import Measured, Out, publish
from graphcl.ops import SparseMatrix, edge_dot, has_scatter, spmm, symmetric_adjacency

Step = Callable[[Tensor], Tensor]


def power_law_graph(users: int, items: int, pairs: int, generator: torch.Generator) -> Tensor:
    """[2, E] a bipartite graph, both directions, at most `pairs` distinct edges; popularity is like 1 / rank ** 0.8."""
    user = (torch.rand(pairs, generator=generator, dtype=torch.float64) ** 2 * users).long()
    item = (torch.rand(pairs, generator=generator, dtype=torch.float64) ** 5 * items).long()
    key = torch.unique(user * items + item)
    user, item = key // items, key % items + users
    return torch.cat([torch.stack([user, item]), torch.stack([item, user])], 1)


def products(matrix: SparseMatrix) -> dict[str, Step]:
    """Every way to multiply the fixed adjacency, gradients to x included."""
    row, col = edges = matrix.edge_index.long()
    value = matrix.value
    csr = torch.sparse_csr_tensor(matrix.crow.long(), col, value, matrix.shape)
    coo = torch.sparse_coo_tensor(matrix.edge_index.long(), value, matrix.shape).coalesce()
    layer = LGConv(normalize=False)
    found: dict[str, Step] = {
        "graphcl.ops.spmm": lambda x: spmm(matrix, x),
        "torch CSR": lambda x: csr @ x,
        "torch COO": lambda x: torch.sparse.mm(coo, x),
        "index_add of messages": lambda x: torch.zeros_like(x).index_add(0, row, x[col] * value[:, None]),
        "PyG LGConv": lambda x: layer(x, edges, value),
    }
    if has_scatter():
        from torch_scatter import segment_csr

        crow = matrix.crow.long()
        found["torch-scatter segment_csr"] = lambda x: segment_csr(x[col] * value[:, None], crow)
    return found


def value_gradients(matrix: SparseMatrix, x: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Every way to the gradient of edge values, x[row] . y[col]."""
    row, col = matrix.edge_index.long()
    return {
        "graphcl.ops.edge_dot": lambda: edge_dot(matrix, x, y),
        "gather, multiply, sum": lambda: (x[row] * y[col]).sum(1),
        "chunked einsum": lambda: torch.cat(
            [torch.einsum("ed,ed->e", x[i], y[j]) for i, j in zip(row.split(65536), col.split(65536), strict=True)]
        ),
    }


def alternate(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The best CPU milliseconds of each."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for name, work in contestants.items():
            started = time.process_time()
            work()
            best[name] = min(best[name], 1000 * (time.process_time() - started))
    return best


def backwards(step: Step, x: Tensor, seed: Tensor) -> Callable[[], object]:
    """Forward and backward to x."""
    return lambda: torch.autograd.grad(step(x), x, seed)


def main(
    users: Annotated[int, typer.Option()] = 60_000,
    items: Annotated[int, typer.Option()] = 40_000,
    pairs: Annotated[int, typer.Option(help="drawn; the distinct ones count")] = 1_500_000,
    size: Annotated[int, typer.Option(help="width of the vectors")] = 64,
    rounds: Annotated[int, typer.Option()] = 3,
    out: Out = None,
) -> None:
    """Time sparse products and the gradient of edge values on one thread."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    edge_index = power_law_graph(users, items, pairs, generator)
    matrix = symmetric_adjacency(edge_index, users + items)
    x, y = (torch.randn(users + items, size, generator=generator) for _ in range(2))
    learned = x.clone().requires_grad_()
    forms = products(matrix)
    expected = spmm(matrix, x)
    for name, form in forms.items():
        torch.testing.assert_close(form(x), expected, rtol=1e-4, atol=1e-4, msg=f"{name} computes something else")
    forward = alternate({name: lambda f=form: f(x) for name, form in forms.items()}, rounds)  # type: ignore[misc]
    both = alternate({name: backwards(form, learned, y) for name, form in forms.items()}, rounds)
    dots = alternate(dict(value_gradients(matrix, x, y)), rounds)
    publish(
        "ops",
        [
            Measured(
                "Sparse product, CPU ms",
                {"form": "", "forward": ".0f", "forward + backward": ".0f", "times ours": ".1f"},
                [(name, forward[name], both[name], both[name] / both["graphcl.ops.spmm"]) for name in forms],
            ),
            Measured(
                "Gradient of edge values, CPU ms",
                {"form": "", "ms": ".0f", "times ours": ".1f"},
                [(name, taken, taken / dots["graphcl.ops.edge_dot"]) for name, taken in dots.items()],
            ),
        ],
        f"{users + items:,} nodes, {matrix.num_edges:,} directed edges, largest degree "
        f"{int(matrix.crow.diff().max()):,}, vectors of {size}, float32, one thread; the best of {rounds} rounds in "
        f"which the forms alternate, after all gave the same result.",
        out,
    )
