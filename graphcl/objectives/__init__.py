"""Contrastive objectives: one streaming kernel, one objective with explicit arguments, and the names people know.

Two views, row i of one positive of row i of the other; no [N, N] matrix is ever built:

    InfoNCE(temperature=0.2)(a, b)                                   # SGL, SimGCL: anchors in a, candidates in b
    InfoNCE(0.2)(a[batch], b, positives=batch)                       # candidates: all nodes
    InfoNCE(1.0, denominator=All(1e-8), probability_floor=1e-8)(a, b)  # DCCF with its two epsilons
    NTXent(1.0, similarity=dot)(a, b, group=target)                  # ICSRec; MCLRec without group
    WeightedInfoNCE(0.4)(coarse, fine, clusters)                     # MEOW; clusters [K, N]
    ProtoNCE(balanced=True)(z, prototypes, assignment, concentration)  # MEOW, PCL: one call per clustering
    AdaptiveInfoNCE(PairMLP(64, 16), 1.0)(fine, coarse)              # AdaMEOW: the weight net learns by the same loss
    InfoNCE(0.8, numerator="lse", direction_weight=0.5)(a, b, positives=Edges(pos, n, n))  # HeCo
    SupCon(0.1)(z, labels)                                           # rows of one label
    MomentumInfoNCE()(query, key, negatives=queue.rows)              # MoCo
    DCL, DCLW, DebiasedInfoNCE, HardNegativeInfoNCE

Every one of them is a `Contrast`; see there for `similarity`, `pairing`, `numerator`, `denominator`, `positive_weight`,
`direction_weight`, `detach`, `incomplete`, `reduction` ("mean" over complete anchors, "sum", "none") and `tile`. Calls
take `positives`, `labels`, `group` (false negatives), `weight` (matrix or `PairTerm`), `candidate_weight`, `negatives`
and `temperature`. Beside the family: `alignment`, `uniformity`, `barlow_twins`, `vicreg`, `margin_regulariser`, `jsd`,
`attraction_repulsion` (CACR), `group_ordering` (GroCo), `alignment_tempered` (MACL), `circle`,
`neighborhood_cross_entropy` (SAN); `group_whitening`.

`graphcl` is neither the GraphCL method nor PyGCL, whose "DCL" means the debiased loss; `DCL` here is the decoupled one.
"""

from graphcl.objectives.attraction import attraction_repulsion, attraction_repulsion_to_keys
from graphcl.objectives.circle import circle
from graphcl.objectives.contrast import Contrast
from graphcl.objectives.denominators import All, Debiased, Decoupled, Denominator
from graphcl.objectives.kernel import PairTerm, row_lse
from graphcl.objectives.margin import margin_regulariser
from graphcl.objectives.momentum import MomentumEncoder, NegativeQueue
from graphcl.objectives.named import (
    DCL,
    DCLW,
    AdaptiveInfoNCE,
    DebiasedInfoNCE,
    DecoupledInfoNCE,
    HardNegativeInfoNCE,
    InfoNCE,
    MomentumInfoNCE,
    NTXent,
    ProtoNCE,
    SupCon,
    WeightedInfoNCE,
)
from graphcl.objectives.neighborhood import neighborhood_cross_entropy
from graphcl.objectives.noncontrastive import alignment, barlow_twins, joint_entropy, uniformity, vicreg
from graphcl.objectives.ordering import group_ordering
from graphcl.objectives.pair_mlp import PairMLP
from graphcl.objectives.pairing import (
    Pairing,
    Pairs,
    across,
    across_and_within,
    first_across_and_within,
    one_to_one,
    within,
)
from graphcl.objectives.pairwise import jsd, pair_cross_entropy, pair_sum
from graphcl.objectives.positives import Edges, Index, Labels, Positives
from graphcl.objectives.similarity import Similarity, cosine, dot, negative_squared_distance
from graphcl.objectives.soft import Soft
from graphcl.objectives.temperature import alignment_tempered
from graphcl.objectives.weights import (
    ClusterWeight,
    DistinctGroups,
    Exclude,
    LearnedWeight,
    PairFunction,
    PairMatrix,
)
from graphcl.objectives.whitening import group_whitening

__all__ = [
    "DCL",
    "DCLW",
    "AdaptiveInfoNCE",
    "All",
    "ClusterWeight",
    "Contrast",
    "Debiased",
    "DebiasedInfoNCE",
    "Decoupled",
    "DecoupledInfoNCE",
    "Denominator",
    "DistinctGroups",
    "Edges",
    "Exclude",
    "HardNegativeInfoNCE",
    "Index",
    "InfoNCE",
    "Labels",
    "LearnedWeight",
    "MomentumEncoder",
    "MomentumInfoNCE",
    "NTXent",
    "NegativeQueue",
    "PairFunction",
    "PairMLP",
    "PairMatrix",
    "PairTerm",
    "Pairing",
    "Pairs",
    "Positives",
    "ProtoNCE",
    "Similarity",
    "Soft",
    "SupCon",
    "WeightedInfoNCE",
    "across",
    "across_and_within",
    "alignment",
    "alignment_tempered",
    "attraction_repulsion",
    "attraction_repulsion_to_keys",
    "barlow_twins",
    "circle",
    "cosine",
    "dot",
    "first_across_and_within",
    "group_ordering",
    "group_whitening",
    "joint_entropy",
    "jsd",
    "margin_regulariser",
    "negative_squared_distance",
    "neighborhood_cross_entropy",
    "one_to_one",
    "pair_cross_entropy",
    "pair_sum",
    "row_lse",
    "uniformity",
    "vicreg",
    "within",
]
