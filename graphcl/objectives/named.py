"""The objectives people know, each a choice of arguments of `Contrast`; every other argument stays open to change.

"DCL" is the decoupled loss of arXiv 2110.06848 here; PyGCL uses these letters for the debiased one.
"""

from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from graphcl.errors import InputError
from graphcl.objectives.contrast import Contrast, Detached, Options
from graphcl.objectives.denominators import Debiased, Decoupled
from graphcl.objectives.kernel import PairTerm
from graphcl.objectives.pairing import across_and_within, one_to_one, within
from graphcl.objectives.tables import tables
from graphcl.objectives.weights import ClusterWeight, LearnedWeight
from graphcl.ops import full_precision

_WEIGHT: frozenset[Detached] = frozenset({"positive_weight"})
_CANDIDATES: frozenset[Detached] = frozenset({"candidates"})


class InfoNCE(Contrast):
    """-a_i+ + log sum_j e^a_ij, candidates in the other view (arXiv 1807.03748; SGL, SimGCL, DCCF).

    >>> loss = InfoNCE(temperature=0.2)(user_view_1, user_view_2)
    """


class NTXent(Contrast):
    """InfoNCE over both views at once, the anchor left out (SimCLR, arXiv 2002.05709; CL4SRec, ICSRec, MCLRec).

    The recommenders use `NTXent(1.0, similarity=dot)`; ICSRec's false-negative mask is `group`.
    """

    def __init__(self, temperature: float | nn.Parameter = 0.5, **options: Unpack[Options]) -> None:
        options.setdefault("pairing", across_and_within)
        super().__init__(temperature, **options)


class SupCon(Contrast):
    """Rows of one label are positives (arXiv 2004.11362, equation 2); rows alone in their label are left out.

    `SupCon()(z, labels)` contrasts one view; `SupCon(pairing=across_and_within)(z_1, labels, z_2)` two.
    """

    def __init__(self, temperature: float | nn.Parameter = 0.1, **options: Unpack[Options]) -> None:
        options.setdefault("pairing", within)
        super().__init__(temperature, **options)

    def forward(self, z: Tensor, labels: Tensor, other: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """`z` [N, d], `labels` [N] and, where the pairing joins two views, `other` [N, d]."""
        if other is not None and self.pairing is within:
            raise InputError("SupCon: pairing=within looks at one view; contrast two with pairing=across_and_within.")
        return super().forward(z, z if other is None else other, labels=labels)


class DecoupledInfoNCE(Contrast):
    """InfoNCE whose denominator holds negatives alone (DCL, arXiv 2110.06848); it can fall below 0.

    InfoNCE_i = softplus(DCL_i): without the factor (1 - p_i) on its gradient, which suits small batches.
    """

    def __init__(self, temperature: float | nn.Parameter = 0.1, **options: Unpack[Options]) -> None:
        options.setdefault("pairing", across_and_within)
        options.setdefault("denominator", Decoupled())
        super().__init__(temperature, **options)


DCL = DecoupledInfoNCE


class DCLW(DecoupledInfoNCE):
    """DCL whose positives weigh 2 - N softmax_i(s_i+ / sigma), without gradient into the weight (arXiv 2110.06848).

    Weights have mean 1 and may be negative. `detach=()` lets the gradient through.
    """

    def __init__(
        self, temperature: float | nn.Parameter = 0.1, *, sigma: float = 0.5, **options: Unpack[Options]
    ) -> None:
        options.setdefault("positive_weight", partial(_inverse_von_mises_fisher, sigma=sigma))
        options.setdefault("detach", _WEIGHT)
        super().__init__(temperature, **options)


def _inverse_von_mises_fisher(similarity: Tensor, sigma: float) -> Tensor:
    return 2 - len(similarity) * torch.softmax(similarity / sigma, 0)


class WeightedInfoNCE(Contrast):
    """InfoNCE whose pairs weigh the number of clusterings that tell them apart (MEOW, SDM 2023).

    A pair that shares every cluster is ignored, the positive is not in the denominator; an anchor that shares every
    cluster with everyone is left out.

    >>> loss = WeightedInfoNCE(temperature=0.4)(coarse, fine, clusters)  # clusters [K, N]
    """

    def forward(self, a: Tensor, b: Tensor, clusters: Tensor) -> Tensor:  # type: ignore[override]
        """`a` and `b` [N, d], `clusters` int64 [K, N]: the cluster of each row in each of K clusterings, K > 0."""
        if clusters.dim() != 2 or clusters.shape[1] != len(a) or not len(clusters):
            raise InputError(f"clusters needs the shape [K, {len(a)}], K > 0, but has {list(clusters.shape)}.")
        anchor, candidate = (clusters.repeat(1, times) for times in self.pairing(*tables(a, b)).repeat)
        return super().forward(a, b, weight=ClusterWeight(anchor, candidate))


class AdaptiveInfoNCE(Contrast):
    """InfoNCE whose pairs weigh what a network says, trained by the same loss (AdaMEOW, TKDE 2024).

    `weight_net` maps [r, d] and [c, d] to log weights [r, c], such as `PairMLP`. The positive is in the denominator.
    """

    def __init__(
        self, weight_net: nn.Module, temperature: float | nn.Parameter = 1.0, **options: Unpack[Options]
    ) -> None:
        super().__init__(temperature, **options)
        self.weight_net = weight_net

    def forward(self, a: Tensor, b: Tensor, group: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """`a` and `b` [N, d], `group` [N] as in `Contrast`; the network sees the views as they are given."""
        a, b = tables(a, b)
        pairs = self.pairing(a, b)
        weight: PairTerm = LearnedWeight(self.weight_net, pairs.anchors, pairs.candidates)
        return super().forward(a, b, group=group, weight=weight)


class ProtoNCE(Contrast):
    """Rows against the prototypes of one clustering, each with its own temperature (PCL, arXiv 2005.04966; MEOW).

    `balanced` multiplies the denominator by N / C, as MEOW's code does: a constant of the loss, none of the gradient.
    """

    def __init__(self, *, balanced: bool = False, **options: Unpack[Options]) -> None:
        super().__init__(1.0, **options)
        self.balanced = balanced

    def forward(  # type: ignore[override]
        self, z: Tensor, prototypes: Tensor, assignment: Tensor, concentration: Tensor
    ) -> Tensor:
        """`z` [N, d], `prototypes` [C, d], cluster of each row `assignment` [N], temperatures `concentration` [C]."""
        share = full_precision(z).new_full((len(prototypes),), len(z) / len(prototypes)) if self.balanced else None
        return super().forward(
            z, prototypes, positives=assignment, temperature=concentration[None], candidate_weight=share
        )


class DebiasedInfoNCE(Contrast):
    """NT-Xent with the expected share of unseen positives taken out of the negatives (arXiv 2007.00224)."""

    def __init__(
        self, temperature: float | nn.Parameter = 0.5, *, tau_plus: float = 0.1, **options: Unpack[Options]
    ) -> None:
        options.setdefault("pairing", across_and_within)
        options.setdefault("denominator", Debiased(tau_plus))
        super().__init__(temperature, **options)


class HardNegativeInfoNCE(Contrast):
    """Debiased NT-Xent that concentrates on hard negatives, by e^(beta a) (HCL, arXiv 2010.04592)."""

    def __init__(
        self,
        temperature: float | nn.Parameter = 0.5,
        *,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        **options: Unpack[Options],
    ) -> None:
        options.setdefault("pairing", across_and_within)
        options.setdefault("denominator", Debiased(tau_plus, beta))
        super().__init__(temperature, **options)


class MomentumInfoNCE(Contrast):
    """A query against its own key and a queue of older keys, which get no gradient (MoCo, arXiv 1911.05722).

    >>> loss = MomentumInfoNCE()(query, key, negatives=queue.rows)
    """

    def __init__(self, temperature: float | nn.Parameter = 0.07, **options: Unpack[Options]) -> None:
        options.setdefault("pairing", one_to_one)
        options.setdefault("detach", _CANDIDATES)
        super().__init__(temperature, **options)
