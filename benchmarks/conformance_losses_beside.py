"""The golden cases of what stands beside the InfoNCE family: attraction, ordering, whitening, transport and others."""

# ruff: noqa: D103 -- the name of a case is its documentation
import torch
from torch import Tensor

from benchmarks.conformance_losses import Inputs, Loss, Outputs
from graphcl.objectives import (
    alignment_tempered,
    attraction_repulsion,
    attraction_repulsion_to_keys,
    circle,
    group_ordering,
    group_whitening,
    neighborhood_cross_entropy,
)
from graphcl.transport import balanced_assignment, transported
from graphcl.views.gate import gate_divergence


def views(g: Inputs, letter: str) -> list[Tensor]:
    count = sum(name.removeprefix(letter).isdigit() for name in g.leaves if name.startswith(letter))
    return [g[f"{letter}{number}"] for number in range(count)]


def cacr(g: Inputs) -> Tensor:
    live = g.hyper["choice"] == "full"
    return attraction_repulsion(
        views(g, "v"),
        attraction=g.hyper["tau_pos"] * live,
        repulsion=g.hyper["tau_neg"] * live,
        debias=g.hyper["tau_plus"] * g.hyper["with_debiased"],
    )


def cacr_keys(g: Inputs) -> Tensor:
    return attraction_repulsion_to_keys(views(g, "q"), g["k"], temperature=g.hyper["T"])


def groco(g: Inputs) -> Tensor:
    return group_ordering(
        views(g, "v"),
        n_negatives=g.hyper["topk_neg"],
        steepness=g.hyper["steepness"],
        detach_candidates=g.hyper["stop_grad"],
    )


def macl(g: Inputs) -> Tensor:
    constants = {"strength": g.hyper["alpha"], "reference": g.hyper["A_0"]}
    return alignment_tempered(g["x0"], g["x1"], temperature=g.hyper["temperature"], **constants)


def san(g: Inputs) -> Tensor:
    names = {"source_freedom": "v_input", "freedom": "v_latent", "closeness": "augNearRate"}
    constants = {ours: float(g.hyper[theirs]) for ours, theirs in names.items()}
    return neighborhood_cross_entropy(g["lat"], g["lat_aug"], g["inp"], **constants)


def circle_(g: Inputs) -> Tensor:
    return circle(g["x"], g["labels"], margin=g.hyper["m"], scale=g.hyper["gamma"])


def whitening(g: Inputs) -> dict[str, Tensor]:
    parts = g["x"].chunk(g.hyper["views"])
    whitened = [
        group_whitening(part, g.hyper["num_groups"], permutation=g[f"perm{number}"], epsilon=0.0)
        for number, part in enumerate(parts)
    ]
    y = torch.cat(whitened)
    return {"y": y, "loss": (y * g["R"]).sum()}


def sinkhorn(g: Inputs) -> dict[str, Tensor]:
    return {
        "assignment": balanced_assignment(g["scores"], temperature=g.hyper["epsilon"], n_iter=g.hyper["iterations"])
    }


def opta(g: Inputs) -> dict[str, Tensor]:
    limits = {"tolerance": g.hyper["stopping_criterion"], "max_iter": g.hyper["max_iter"]}
    return {"transported": transported(g["support"], g["query"], regularization=g.hyper["regularization"], **limits)}


def gate(g: Inputs) -> Tensor:
    return gate_divergence(g["mu"], g["logD"]) * g.hyper["kl_mult"]


CASES: dict[str, Loss | Outputs] = {
    "cacr_full": cacr,
    "cacr_none": cacr,
    "cacr_debiased": cacr,
    "cacr_momentum_euclidean": cacr_keys,
    "groco_v2_k5": groco,
    "groco_v3_k10": groco,
    "macl_lightly": macl,
    "circle_pml": circle_,
    "san": san,
    "whitening_sgw": whitening,
    "beclr_sinkhorn": sinkhorn,
    "beclr_opta": opta,
    "vib_kl": gate,
}
