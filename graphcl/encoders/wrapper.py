"""Any PyG module as an encoder."""

from torch import Tensor, nn

from graphcl.ops import SparseMatrix


class PyGEncoder(nn.Module):
    """Wraps a module that is called with `(x, edge_index)` or `(x, edge_index, edge_weight)`.

    The encoder is called like all encoders here: (x [N, d], graph [N, N]) -> [N, e]. Rows of `graph` receive from
    columns, PyG's edges run from the first row of `edge_index` to the second; the wrapper turns one into the other.
    `weighted`: whether the module takes the graph's values as edge weights (`GCNConv`, `LGConv`, `GraphConv`; a GAT
    or SAGE layer does not).
    """

    def __init__(self, module: nn.Module, *, weighted: bool = False) -> None:
        super().__init__()
        self.module, self.weighted = module, weighted

    def forward(self, x: Tensor, graph: SparseMatrix) -> Tensor:
        """[N, d] -> [N, e]"""
        edge_index = graph.edge_index.flip(0).long()
        out: Tensor = self.module(x, edge_index, graph.value) if self.weighted else self.module(x, edge_index)
        return out
