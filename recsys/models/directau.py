"""DirectAU: alignment and uniformity in collaborative filtering (Wang et al., KDD 2022).

Deviations: the batch's rows are penalised (`reg_weight`), where the authors' optimiser decays all weights; the table
starts normal, not by Xavier's normal rule (`init_std: 0` is the uniform one). As in their code the rows of a batch keep
their duplicates. Negatives are drawn by the common sampler and not used.
"""

from dataclasses import dataclass

from torch import Tensor

from graphcl.encoders.light import light
from graphcl.objectives.noncontrastive import alignment, uniformity
from graphcl.ranges import Weight, Whole
from recsys.data.samplers import Triples
from recsys.models.graph import GraphRecommender
from recsys.models.losses import l2


class DirectAU(GraphRecommender):
    """No ranking loss: users are drawn to their items, and both sides spread over the sphere."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GraphRecommender.Config):
        """Keys of DirectAU."""

        n_layers: Whole = 0
        """Steps of propagation; 0 is matrix factorisation."""
        uniformity_weight: Weight = 1.0
        """Weight of the mean uniformity of users and items, beside alignment."""

        def idle(self) -> dict[str, str]:
            """All about negatives."""
            return dict.fromkeys(("n_negatives", "hard_negatives", "negative_popularity"), "it has no negatives")

    config: Config

    def embed(self) -> Tensor:
        """[U + I, d]"""
        return light(self.adjacency, self.embedding, self.config.n_layers)

    def forward(self, batch: Triples, phase: str) -> dict[str, Tensor]:
        """Alignment, uniformity and the norm penalty."""
        vectors, rows = self.embed(), (batch.user, batch.positive + self.num_users)
        user, item = (vectors.index_select(0, side) for side in rows)
        # One pair, as the last batch may be, has nothing to spread.
        spread = (uniformity(user) + uniformity(item)) / 2 if len(user) > 1 else user.new_zeros(())
        penalty = l2(*(self.embedding.index_select(0, side) for side in rows), batch_size=len(batch.user))
        return {
            "alignment": alignment(user, item),
            "uniformity": self.config.uniformity_weight * spread,
            "reg": self.config.reg_weight * penalty,
        }
