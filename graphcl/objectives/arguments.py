"""What a caller says of the rows of two views, said of the anchors and candidates that a pairing makes of them."""

import torch
from torch import Tensor

from graphcl.errors import InputError
from graphcl.objectives.kernel import PairTerm
from graphcl.objectives.pairing import Pairs
from graphcl.objectives.positives import Index, Labels, Positives
from graphcl.objectives.weights import DistinctGroups, Exclude, as_term, log_weight


def positives_of(pairs: Pairs, given: Positives | Tensor | None, labels: Tensor | None) -> Positives:
    """What was given, or rows of one label, or the same row in the other view; `InputError` where it does not fit."""
    if given is not None:
        chosen = as_positives(given, len(pairs.candidates))
        chosen.refuse_misfit(len(pairs.anchors), len(pairs.candidates))
        return chosen if pairs.own is None else chosen.leaving_out(pairs.own)
    if labels is not None:
        anchor, candidate = (labels.repeat(times) for times in pairs.repeat)
        _check_ids("labels", anchor, pairs.anchors)
        _check_ids("labels", candidate, pairs.candidates)
        return Labels(anchor, candidate, pairs.own)
    if pairs.index is None:
        raise InputError(
            f"Which of the {len(pairs.candidates)} candidates belongs to which of the {len(pairs.anchors)} anchors "
            "does not follow from the order of rows; pass positives= or labels=."
        )
    _check_ids("positives", pairs.index, pairs.anchors)
    return Index(pairs.index, len(pairs.candidates))


def as_positives(given: Positives | Tensor, num_candidates: int) -> Positives:
    """Positives as they are, or the candidate of each anchor, int64 [N], -1 for none."""
    if isinstance(given, Positives):
        return given
    if given.dim() != 1 or given.dtype != torch.int64:
        raise InputError(
            f"positives: the candidate of each anchor is int64 [N], got {given.dtype} {list(given.shape)}; say "
            "pairs as Edges, graded ones as Soft."
        )
    return Index(given, num_candidates)


def terms_of(
    pairs: Pairs, positives: Positives, group: Tensor | None, weight: PairTerm | Tensor | None
) -> tuple[PairTerm, ...]:
    """What leaves pairs of anchors and candidates out of the denominator, or weighs them."""
    terms: list[PairTerm] = [] if pairs.own is None else [Exclude(pairs.own)]
    if group is not None:
        anchor, candidate = (group.repeat(times) for times in pairs.repeat)
        _check_ids("group", anchor, pairs.anchors)
        _check_ids("group", candidate, pairs.candidates)
        terms.append(DistinctGroups(anchor, candidate, positives))
    if weight is not None:
        terms.append(as_term(weight, (len(pairs.anchors), len(pairs.candidates))))
    return tuple(terms)


def queue_terms_of(pairs: Pairs, group: Tensor | None, negative_group: Tensor | None) -> tuple[PairTerm, ...]:
    """What leaves rows of the queue out."""
    if negative_group is None:
        return ()
    if group is None:
        raise InputError("negative_group is compared with the anchors' group; pass group= as well.")
    return (DistinctGroups(group.repeat(pairs.repeat[0]), negative_group),)


def log_weight_of(candidate_weight: Tensor, pairs: Pairs) -> Tensor:
    """[M] the logarithm of the candidates' weights; one of 0 leaves its candidate out, and learns nothing."""
    _check_ids("candidate_weight", candidate_weight, pairs.candidates)
    if (candidate_weight < 0).any():
        raise InputError("candidate_weight must not be negative; 0 leaves a candidate out.")
    return log_weight(candidate_weight.to(pairs.candidates.dtype))


def _check_ids(name: str, ids: Tensor, rows: Tensor) -> None:
    if ids.shape != rows.shape[:1]:
        raise InputError(f"{name} has shape {list(ids.shape)}, but the pairing makes {len(rows)} rows of it.")
