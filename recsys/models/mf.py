"""MF-BPR: matrix factorisation for implicit feedback (Rendle et al., UAI 2009).

Deviations: one pass over the pairs in random order instead of a bootstrap; Adam instead of plain SGD.
"""

from torch import Tensor

from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender


class MF(GraphRecommender):
    """Vectors as they are learned; the graph is used only to fold in new users."""

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return self.embedding

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """BPR and the norm penalty."""
        return self.ranking(batch, self.embedding)
