"""Graph convolutions with a matrix per layer (Kipf & Welling, ICLR 2017)."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from graphcl.ops import SparseMatrix, spmm


class GCN(nn.Module):
    """h_l = activation(A h_{l-1} W_l + b_l), one layer per size; Xavier uniform, biases 0.

    The first layer may be given as a product with its matrix, for inputs that are not a dense tensor.
    """

    layers: Sequence[nn.Linear]

    def __init__(self, sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.PReLU) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, after) for size, after in pairwise(sizes))  # type: ignore[assignment]
        self.activations = nn.ModuleList(activation() for _ in self.layers)
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, times_first: Callable[[Tensor], Tensor], graph: SparseMatrix, value: Tensor | None = None
    ) -> Tensor:
        """[N, d] from the product of the inputs with a matrix [F, d1], and the graph [N, N] or other values [E]."""
        h: Tensor | None = None
        for layer, activation in zip(self.layers, self.activations, strict=True):
            weighed = times_first(layer.weight.T) if h is None else h @ layer.weight.T
            h = activation(spmm(graph, weighed, value) + layer.bias)
        assert h is not None  # there is at least one layer
        return h
