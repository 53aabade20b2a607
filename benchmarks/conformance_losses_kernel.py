"""Golden cases written with the kernel itself or with the losses that stand beside the family."""

# ruff: noqa: D103 -- the name of a case is its documentation
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.conformance_losses import Inputs, Loss
from benchmarks.conformance_losses_family import edges
from graphcl.objectives import (
    Contrast,
    Edges,
    Exclude,
    InfoNCE,
    PairFunction,
    alignment,
    barlow_twins,
    cosine,
    dot,
    joint_entropy,
    jsd,
    margin_regulariser,
    negative_squared_distance,
    pair_sum,
    row_lse,
    uniformity,
    vicreg,
    within,
)
from graphcl.objectives.denominators import Rows


def mclrec_regulariser(g: Inputs) -> Tensor:
    similarity = {"dot": dot, "cos": cosine}[g.hyper["sim"]]
    return margin_regulariser(g["a"], g["b"], temperature=g.hyper["tau"], similarity=similarity)


def pygcl_jsd(g: Inputs) -> Tensor:
    positives, negative = edges(g["pos"]), g["neg"]
    return jsd(g["a"], g["s"], positives=positives, negatives=lambda rows, cols: negative[rows, cols])


def supremix(g: Inputs) -> Tensor:
    y = g["y"].repeat(2)
    labels = torch.unique(y, return_inverse=True)[1]
    weight = PairFunction(lambda rows, cols: (y[rows, None] - y[cols]).abs() + 1)
    z = torch.cat([g["f"][:, 0], g["f"][:, 1]])
    return Contrast(g.hyper["temperature"], similarity=dot, pairing=within)(z, z, labels=labels, weight=weight)


def conr(g: Inputs) -> Tensor:
    """With the reference's masked entries, each of which adds exp(0) to its denominators."""
    y, predicted, eta = (g[name][:, 0] for name in ("y", "pred", "weight"))
    apart, near = (y[:, None] - y).abs(), (predicted[:, None] - predicted).abs()
    positive = (apart <= g.hyper["w"]).fill_diagonal_(False)
    negative = (apart > g.hyper["w"]) & (near <= g.hyper["w"])
    push = (
        eta[:, None] * (apart * g.hyper["e"]).exp() if g.case == "conr_agedb" else eta[:, None] * apart * g.hyper["e"]
    )
    masked = len(y) - positive.sum(1)

    def denominator(rows: Rows) -> Tensor:
        return torch.logaddexp(rows.everything(), masked.to(eta).log())

    loss = Contrast(g.hyper["t"], pairing=within, denominator=denominator, reduction="none")
    positives = Edges(positive.nonzero().T, *positive.shape)
    rows = loss(g["x"], g["x"], positives=positives, weight=positive + negative * push)
    counted = positive.sum(1).to(rows)
    scale = eta if g.case == "conr_agedb" else counted / (counted + 1)
    return (rows * scale * negative.any(1)).mean()


def multi_label_cluster(g: Inputs) -> Tensor:
    z, prototypes, positive = g.hyper["scale"] * g["z"], g["proto"], g["pos"].to(g["z"])
    negatives = row_lse(z, prototypes, terms=[PairFunction(lambda rows, cols: 1 - positive[rows, cols])])
    positives = row_lse(-z, prototypes, terms=[PairFunction(lambda rows, cols: positive[rows, cols])])
    return (-F.logsigmoid(-negatives) - F.logsigmoid(-positives)).mean()


def sslrec_alignment(g: Inputs) -> Tensor:
    return alignment(g["x"], g["y"], alpha=g.hyper["alpha"])


def sslrec_uniformity(g: Inputs) -> Tensor:
    return uniformity(g["x"], t=g.hyper["t"])


def sepclr_alignment(g: Inputs) -> Tensor:
    return alignment(g["x"], g["y"], alpha=g.hyper["alpha"], normalise=False) / (2 * g.hyper["tau"])


def sepclr_uniformity(g: Inputs) -> Tensor:
    return uniformity(g["x"], t=1 / (2 * g.hyper["tau"]), normalise=False)


def sepclr_joint_entropy(g: Inputs) -> Tensor:
    return joint_entropy(g["c"], g["s"], temperature=g.hyper["tau"])


def sepclr_supervised_alignment(g: Inputs) -> Tensor:
    x, y = g["x"][:, None], g["y"]

    def value(logits: Tensor, rows: slice, cols: slice) -> Tensor:
        return -logits * (-(y[rows, None] - y[cols]).square() / (2 * g.hyper["tau"])).exp()

    return pair_sum(*negative_squared_distance(x, x), value).sum() / (len(x) * (len(x) - 1))


def barlow(g: Inputs) -> Tensor:
    return barlow_twins(g["x0"], g["x1"], redundancy_weight=g.hyper["lambda_param"])


def vicreg_(g: Inputs) -> Tensor:
    return vicreg(
        g["x0"],
        g["x1"],
        invariance_weight=g.hyper["lambda_param"],
        variance_weight=g.hyper["mu_param"],
        covariance_weight=g.hyper["nu_param"],
        epsilon=g.hyper["eps"],
    )


def beclr_negatives(g: Inputs) -> Tensor:
    z = cosine(torch.cat([g["z1"], g["z2"]]), g["z1"])[0]
    own = torch.arange(len(z))
    terms = (Exclude(own), Exclude(own.roll(len(z) // 2)))
    rows = row_lse(z / g.hyper["temp"], z, terms=terms)
    return rows.logsumexp(0) - log(len(z) * (len(z) - 2))


def cacr_rbf(g: Inputs) -> Tensor:
    q, k = F.normalize(torch.stack([g["q0"], g["q1"]]), dim=2), F.normalize(g["k"], dim=1)
    far = (q - k).square().sum(2).detach()
    share = torch.softmax(far / g.hyper["T"], 0)
    loss = InfoNCE(g.hyper["T"], similarity=dot, reduction="none")
    return torch.stack([(p * loss(view, k)).mean() * 2 * g.hyper["T"] for p, view in zip(share, q, strict=True)]).sum()


CASES: dict[str, Loss] = {
    "regulariser_mclrec": mclrec_regulariser,
    "pygcl_jsd": pygcl_jsd,
    "supremix_weighted": supremix,
    "conr_agedb": conr,
    "conr_nyu": conr,
    "mlcd": multi_label_cluster,
    "alignment_sslrec": sslrec_alignment,
    "uniformity_sslrec": sslrec_uniformity,
    "sepclr_align": sepclr_alignment,
    "sepclr_uniform": sepclr_uniformity,
    "sepclr_joint_entropy": sepclr_joint_entropy,
    "sepclr_sup_align": sepclr_supervised_alignment,
    "barlow_lightly": barlow,
    "vicreg_lightly": vicreg_,
    "beclr_neg": beclr_negatives,
    "cacr_momentum_rbf": cacr_rbf,
}
