"""What vectors are worth to somebody with a few labels: linear probes, many at a time, and clusterings.

The protocol is HeCo's (Wang et al., KDD 2021), which MEOW and AdaMEOW share: the vectors are frozen and unscaled, one
linear layer is trained by full-batch Adam on 20, 40 or 60 labels per class, and the step is chosen on 1000 other nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from graphcl.errors import InputError
from graphcl.ranges import Count, Positive, Weight


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How the linear layers are trained."""

    learning_rate: Positive = 0.01
    """Step size of Adam."""
    weight_decay: Weight = 0.0
    """Its decay."""
    steps: Count = 200
    """Full-batch steps."""
    repeats: Count = 50
    """Layers, each from its own start."""


class ProbeScores(NamedTuple):
    """Scores on the test nodes of each of R layers, between 0 and 1."""

    macro_f1: Tensor
    """[R] at the first step of the best Macro-F1 on the validation nodes."""
    micro_f1: Tensor
    """[R] at the first step of the best Micro-F1 on the validation nodes."""
    auc: Tensor
    """[R] area under the ROC curve, each class against the rest, averaged over classes; at the step of `micro_f1`."""

    def summary(self) -> dict[str, float]:
        """Mean and population standard deviation of each, in percent."""
        found = {}
        for name, values in zip(self._fields, self, strict=True):
            found[name] = 100 * float(values.mean())
            found[f"{name}_std"] = 100 * float(values.std(unbiased=False))
        return found


Parts = tuple[Tensor, Tensor, Tensor]
"""Numbers of the nodes to train on, to choose the step on, and to report on."""


@torch.enable_grad()
def linear_probe(z: Tensor, labels: Tensor, parts: Parts, *, probe: Probe, generator: torch.Generator) -> ProbeScores:
    """Train `probe.repeats` linear layers at once on rows of `z` [N, d] with `labels` [N]; Xavier uniform, bias 0.

    Raises `InputError` where a named node has no label (-1), or a part has no nodes.
    """
    if not all(map(len, parts)):
        raise InputError(
            "A probe needs nodes to train on, to choose the step on and to report on; a split has "
            f"{', '.join(str(len(part)) for part in parts)} of them."
        )
    x, y = zip(*((z[part].detach().float(), _known(labels, part)) for part in parts), strict=True)
    classes, y_all = torch.cat(y).unique(return_inverse=True)
    y_train, y_valid, y_test = y_all.split([len(part) for part in parts])
    repeats, size, n_classes = probe.repeats, z.shape[1], len(classes)
    bound = (6 / (size + n_classes)) ** 0.5
    start = torch.rand(size, repeats, n_classes, generator=generator, device=z.device)
    weight = ((2 * start - 1) * bound).requires_grad_()
    bias = z.new_zeros(repeats, n_classes, dtype=torch.float32).requires_grad_()
    optimizer = torch.optim.Adam([weight, bias], lr=probe.learning_rate, weight_decay=probe.weight_decay)

    best_macro, best_micro = torch.full((2, repeats), -1.0, device=z.device)
    macro, micro = torch.zeros(2, repeats, device=z.device)
    logits_at_micro = z.new_zeros(repeats, len(y_test), n_classes, dtype=torch.float32)
    targets = y_train.repeat(repeats)
    for _ in range(probe.steps):
        logits = _logits(x[0], weight, bias)
        # The mean over nodes, summed over layers: each layer gets the gradient it would get alone.
        loss = F.cross_entropy(logits.flatten(0, 1), targets) * repeats
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            valid = f1_scores(_logits(x[1], weight, bias).argmax(2), y_valid, n_classes)
            logits = _logits(x[2], weight, bias)
            test = f1_scores(logits.argmax(2), y_test, n_classes)
        better = valid.macro > best_macro
        best_macro, macro = torch.where(better, valid.macro, best_macro), torch.where(better, test.macro, macro)
        better = valid.micro > best_micro
        best_micro, micro = torch.where(better, valid.micro, best_micro), torch.where(better, test.micro, micro)
        logits_at_micro[better] = logits[better]
    return ProbeScores(macro, micro, one_vs_rest_auc(logits_at_micro.softmax(2), y_test))


def _logits(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[R, n, C] of all layers, from one product."""
    return (x @ weight.flatten(1)).unflatten(1, weight.shape[1:]).transpose(0, 1) + bias[:, None]


def _known(labels: Tensor, part: Tensor) -> Tensor:
    y = labels[part]
    if (y < 0).any():
        missing = int(part[y < 0][0])
        raise InputError(f"Node {missing} belongs to a split but has no label; leave it out or give it one.")
    return y


class F1(NamedTuple):
    """Of each of R predictions."""

    macro: Tensor
    micro: Tensor


def f1_scores(predicted: Tensor, labels: Tensor, n_classes: int) -> F1:
    """F1 of predictions [R, n] of labels [n]; macro averages over the classes that occur or are predicted."""
    shift = torch.arange(len(predicted), device=labels.device)[:, None] * n_classes
    hits = predicted == labels

    def count(which: Tensor) -> Tensor:
        return torch.bincount(which, minlength=len(predicted) * n_classes).view(-1, n_classes).float()

    actual = torch.bincount(labels, minlength=n_classes).float()
    both = actual + count((predicted + shift).flatten())
    score = 2 * count((labels + shift)[hits]) / both.clamp(min=1)
    return F1(score.sum(1) / (both > 0).sum(1), hits.float().mean(1))


def one_vs_rest_auc(score: Tensor, labels: Tensor) -> Tensor:
    """[R] mean over classes of P(a member's score exceeds another's), ties half; score [R, n, C], labels [n].

    Classes without a member or without others are left out; NaN where none is left.
    """
    areas = []
    for kind in range(score.shape[2]):
        member = labels == kind
        inside = score[:, member, kind].contiguous()
        outside = score[:, ~member, kind].sort(dim=1).values.contiguous()
        if not inside.numel() or not outside.numel():
            continue
        below = torch.searchsorted(outside, inside) + torch.searchsorted(outside, inside, right=True)
        areas.append(below.double().mean(1) / (2 * outside.shape[1]))
    return torch.stack(areas).mean(0) if areas else score.new_full(score.shape[:1], torch.nan)


def clustering_scores(
    z: Tensor, labels: Tensor, *, generator: torch.Generator, runs: int = 10, n_init: int = 1
) -> dict[str, float]:
    """k-means with as many clusters as classes against the labels: NMI (arithmetic) and ARI in percent, over `runs`.

    scikit-learn's k-means, because it is the protocol's: local optima weigh more here than the vectors' second digit,
    and on ACM another seeding gives other means. Nodes without a label (-1) are left out.
    """
    known = labels >= 0
    x, y = z[known].float().cpu().numpy(), labels[known].cpu().numpy()
    n_clusters = len(np.unique(y))
    if not n_clusters:
        raise InputError("Clusterings are judged by labels, and no node has one.")
    seeds = torch.randint(2**31 - 1, (runs,), generator=generator, device=generator.device).tolist()
    found = []
    for seed in seeds:
        assignment = KMeans(n_clusters, n_init=n_init, random_state=seed).fit_predict(x)
        found.append((normalized_mutual_info_score(y, assignment), adjusted_rand_score(y, assignment)))
    (nmi, ari), (nmi_std, ari_std) = 100 * np.mean(found, axis=0), 100 * np.std(found, axis=0)
    return {"nmi": float(nmi), "nmi_std": float(nmi_std), "ari": float(ari), "ari_std": float(ari_std)}


def judge(
    z: Tensor, labels: Tensor, splits: Mapping[int, Parts], *, probe: Probe, generator: torch.Generator
) -> dict[str, float]:
    """The whole protocol: probes for each count of labels per class (`macro_f1@20`, ...), then NMI and ARI."""
    scores: dict[str, float] = {}
    for count, parts in splits.items():
        found = linear_probe(z, labels, parts, probe=probe, generator=generator).summary()
        scores |= {f"{name}@{count}": value for name, value in found.items()}
    return scores | clustering_scores(z, labels, generator=generator)


def validation_score(z: Tensor, labels: Tensor, splits: Mapping[int, Parts], *, probe: Probe) -> float:
    """Mean over label counts of the best validation Macro-F1 (percent) of ten probes; test nodes are not looked at."""
    quick = replace(probe, repeats=10)
    generator = torch.Generator(z.device).manual_seed(0)
    scores = [
        linear_probe(z, labels, (train, valid, valid), probe=quick, generator=generator).macro_f1.mean()
        for train, valid, _ in splits.values()
    ]
    return 100 * float(torch.stack(scores).mean())
