"""The golden cases of the InfoNCE family, each as the call of `graphcl.objectives` that a reader would write."""

# ruff: noqa: D103 -- the name of a case is its documentation
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.conformance_losses import Inputs, Loss
from graphcl.objectives import (
    DCL,
    DCLW,
    AdaptiveInfoNCE,
    All,
    Contrast,
    DebiasedInfoNCE,
    Decoupled,
    Edges,
    HardNegativeInfoNCE,
    InfoNCE,
    Labels,
    MomentumInfoNCE,
    NTXent,
    PairMLP,
    ProtoNCE,
    Soft,
    SupCon,
    WeightedInfoNCE,
    across_and_within,
    cosine,
    dot,
    first_across_and_within,
    one_to_one,
    within,
)
from graphcl.objectives.contrast import Options


def ntxent(g: Inputs) -> Tensor:
    return NTXent(g.hyper["temperature"])(g["x0"], g["x1"])


def ntxent_bank(g: Inputs) -> Tensor:
    # lightly uses the bank as it is stored.
    loss = MomentumInfoNCE(g.hyper["temperature"], similarity=dot, detach=())
    return loss(cosine(g["x0"], g["x1"])[0], cosine(g["x0"], g["x1"])[1], negatives=g["bank"])


def dcl(g: Inputs) -> Tensor:
    return DCL(g.hyper["temperature"])(g["x0"], g["x1"])


def dclw(g: Inputs) -> Tensor:
    return _dclw(g)(g["x0"], g["x1"])


def dcl_oneway(g: Inputs) -> Tensor:
    return DCL(g.hyper["temperature"], similarity=dot, pairing=first_across_and_within)(g["z1"], g["z2"])


def dclw_oneway(g: Inputs) -> Tensor:
    return _dclw(g, similarity=dot, pairing=first_across_and_within)(g["z1"], g["z2"])


def _dclw(g: Inputs, **options: Unpack[Options]) -> DCLW:
    options["detach"] = ["positive_weight"] if g.hyper["weights"] == "detached" else []
    return DCLW(g.hyper["temperature"], sigma=g.hyper["sigma"], **options)


def infonce_selfrec(g: Inputs) -> Tensor:
    return InfoNCE(g.hyper["temperature"])(g["v1"], g["v2"])


def infonce_sslrec(g: Inputs) -> Tensor:
    def softened_cosine(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        epsilon = g.hyper["norm_eps"]
        return tuple(z / (z.square().sum(1, keepdim=True) + epsilon).sqrt() for z in (x, y))

    loss = InfoNCE(
        g.hyper["temperature"],
        similarity=softened_cosine,
        pairing=one_to_one,
        denominator=Decoupled(),
        reduction=g.hyper["reduction"],
    )
    return loss(g["e1"], g["e2"], negatives=g["all2"])


def infonce_dccf(g: Inputs) -> Tensor:
    loss = InfoNCE(
        g.hyper["temperature"],
        denominator=All(epsilon=g.hyper["eps_denominator"]),
        probability_floor=g.hyper["eps_prob"],
    )
    return loss(g["e1"], g["e2"])


def infonce_icsrec(g: Inputs) -> Tensor:
    loss = NTXent(g.hyper["temperature"], similarity={"dot": dot, "cos": cosine}[g.hyper["sim"]])
    return loss(g["zi"], g["zj"], group=g["labels"] if g.hyper["f_neg"] else None)


def infonce_meow(g: Inputs) -> Tensor:
    clusters = torch.stack([g[f"c{k}"] for k in range(len(g.hyper["num_clusters"]))])
    if clusters.max(1).values.ge(torch.tensor(g.hyper["num_clusters"])).any():
        raise ValueError("a cluster id is not below num_clusters")
    return WeightedInfoNCE(g.hyper["tau"], similarity=dot)(g["za"], g["z"], clusters)


def protonce_meow(g: Inputs) -> Tensor:
    loss = ProtoNCE(balanced=True, similarity=dot)
    if [len(g[f"p{k}"]) for k in range(len(g.hyper["num_clusters"]))] != g.hyper["num_clusters"]:
        raise ValueError("num_clusters does not count the prototypes")
    terms = [loss(g["z"], g[f"p{k}"], g[f"c{k}"], g[f"d{k}"]) for k in range(len(g.hyper["num_clusters"]))]
    return torch.stack(terms).mean()


def infonce_adameow(g: Inputs) -> Tensor:
    net = PairMLP(g["W1"].shape[1], g["W1"].shape[0], activation=F.elu)
    net.hidden.weight, net.hidden.bias = g.leaves["W1"], g.leaves["b1"]
    net.out.weight, net.out.bias = g.leaves["W2"], g.leaves["b2"]
    return AdaptiveInfoNCE(net, g.hyper["tau"], similarity=dot)(g["za"], g["z"])


def edges(mask: Tensor) -> Edges:
    """A dense 0/1 mask as a list of pairs."""
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("a mask of positives holds something else than 0 and 1")
    return Edges(mask.nonzero().T, *mask.shape)


def heco(g: Inputs) -> Tensor:
    loss = InfoNCE(g.hyper["tau"], numerator="lse", denominator=All(1e-8))
    positives = edges(g["pos"])
    there, back = loss(g["z1"], g["z2"], positives=positives), loss(g["z2"], g["z1"], positives=positives)
    return g.hyper["lam"] * there + (1 - g.hyper["lam"]) * back


def pygcl_infonce(g: Inputs) -> Tensor:
    positives = edges(g["pos"])
    return InfoNCE(g.hyper["tau"])(g["a"], g["s"], positives=positives, weight=g["pos"] + g["neg"])


def pygcl_infonce_sp(g: Inputs) -> Tensor:
    positives = edges(g["pos"])
    return InfoNCE(g.hyper["tau"], numerator="lse")(g["a"], g["s"], positives=positives)


def supcon_pml(g: Inputs) -> Tensor:
    return SupCon(g.hyper["temperature"])(g["x"], g["labels"])


def ntxent_pml(g: Inputs) -> Tensor:
    return SupCon(g.hyper["temperature"], numerator="each")(g["x"], g["labels"])


def supcon_two_view(g: Inputs) -> Tensor:
    loss = SupCon(g.hyper["temperature"], similarity=dot, pairing=across_and_within)
    value = loss(g["f"][:, 0], g["labels"], g["f"][:, 1])
    return value * g.hyper["temperature"] / g.hyper["base_temperature"]


def supcon_soft_mask(g: Inputs) -> Tensor:
    affinity = g["mask"].repeat(2, 2).fill_diagonal_(0)
    positives = Soft(lambda rows: affinity[rows], *affinity.shape)
    loss = Contrast(g.hyper["temperature"], similarity=dot, pairing=across_and_within)
    return loss(g["f"][:, 0], g["f"][:, 1], positives=positives)


def sbcl_ccl(g: Inputs) -> Tensor:
    loss = SupCon(g.hyper["temperature"], similarity=dot, pairing=across_and_within)
    by_cluster, by_class = (loss(g["f"][:, 0], g[ids], g["f"][:, 1]) for ids in ("cluster", "labels"))
    return by_cluster * g.hyper["temperature"] / g.hyper["base_temperature"] + g.hyper["gamma"] * by_class


def sbcl_rank(g: Inputs) -> Tensor:
    z = torch.cat([g["f"][:, 0], g["f"][:, 1]])
    cluster, labels = g["cluster"].repeat(2), g["labels"].repeat(2)
    loss = Contrast(g.hyper["temperature"], similarity=dot, pairing=within)
    fine = loss(z, z, labels=cluster)
    other_view = torch.eye(len(z), device=z.device, dtype=torch.bool).roll(len(z) // 2, 0)
    elsewhere = (cluster[:, None] != cluster) | other_view
    positives = Edges((elsewhere & (labels[:, None] == labels)).nonzero().T, *elsewhere.shape)
    coarse = loss(
        z, z, positives=positives, weight=elsewhere.to(z), temperature=g["class_temperature"][labels][:, None]
    )
    return fine * g.hyper["temperature"] / g.hyper["base_temperature"] + g.hyper["gamma"] * coarse


def soft_contrastive(g: Inputs) -> Tensor:
    label = F.normalize(g["label_emb"])[g["labels"]]
    target = torch.softmax(label @ label.T / g.hyper["soft_label_temperature"], 1)
    loss = InfoNCE(g.hyper["temperature"])
    share = _share(g)
    positives = Soft(lambda rows: target[rows], *target.shape)
    there, back = loss(g["a"], g["b"], positives=positives), loss(g["b"], g["a"], positives=positives)
    return share * there + (1 - share) * back


def _share(g: Inputs) -> float:
    return 0.5 if g.hyper["symmetric"] else 1.0


def hard_contrastive(g: Inputs) -> Tensor:
    loss = InfoNCE(g.hyper["temperature"], direction_weight=_share(g))
    return loss(g["a"], g["b"], positives=Labels(g["labels"], g["labels"]))


def hard_negative(g: Inputs) -> Tensor:
    beta = float(str(g.hyper["beta"]).split()[0])  # the file adds its unit in words
    return HardNegativeInfoNCE(g.hyper["temperature"], beta=beta, tau_plus=g.hyper["tau_plus"])(g["a"], g["b"])


def hcl(g: Inputs) -> Tensor:
    loss = HardNegativeInfoNCE(g.hyper["t"], beta=g.hyper["beta"], tau_plus=g.hyper["tau_plus"], similarity=dot)
    return loss(g["x"], g["y"])


def debiased(g: Inputs) -> Tensor:
    return DebiasedInfoNCE(g.hyper["t"], tau_plus=g.hyper["tau_plus"], similarity=dot)(g["x"], g["y"])


CASES: dict[str, Loss] = {
    "ntxent_lightly_tau0.5": ntxent,
    "ntxent_lightly_tau0.1": ntxent,
    "ntxent_lightly_bank": ntxent_bank,
    "dcl_lightly": dcl,
    "dclw_lightly": dclw,
    "dcl_oneway": dcl_oneway,
    "dclw_oneway": dclw_oneway,
    "infonce_selfrec": infonce_selfrec,
    "infonce_sslrec_all": infonce_sslrec,
    "infonce_dccf": infonce_dccf,
    "infonce_icsrec_plain": infonce_icsrec,
    "infonce_icsrec_fnm": infonce_icsrec,
    "infonce_meow": infonce_meow,
    "protonce_meow": protonce_meow,
    "infonce_adameow": infonce_adameow,
    "heco": heco,
    "pygcl_infonce": pygcl_infonce,
    "pygcl_infonce_sp": pygcl_infonce_sp,
    "supcon_pml": supcon_pml,
    "supcon_pml_singletons": supcon_pml,
    "ntxent_pml": ntxent_pml,
    "supcon_two_view": supcon_two_view,
    "supcon_soft_mask": supcon_soft_mask,
    "sbcl_ccl": sbcl_ccl,
    "sbcl_rank": sbcl_rank,
    "soft_contrastive_d2f": soft_contrastive,
    "hard_contrastive_d2f": hard_contrastive,
    "hard_negative_d2f": hard_negative,
    "hcl": hcl,
    "debiased": debiased,
}
