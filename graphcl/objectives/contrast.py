"""The one contrastive objective: minus the positive's logit, plus the log of a denominator."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor, nn

from graphcl.errors import InputError, refuse_unknown_word
from graphcl.objectives.arguments import log_weight_of, positives_of, queue_terms_of, terms_of
from graphcl.objectives.denominators import All, Denominator, add_epsilon
from graphcl.objectives.finite import finite
from graphcl.objectives.kernel import PairTerm, Tile
from graphcl.objectives.pairing import Pairing, Pairs, across
from graphcl.objectives.positives import Positives
from graphcl.objectives.rows import EachPositive, MeanPositive, SumPositive
from graphcl.objectives.similarity import Similarity, cosine
from graphcl.objectives.tables import refuse_temperature, tables
from graphcl.objectives.weights import Transposed

Numerator = Literal["mean", "lse", "each"]
Detached = Literal["anchors", "candidates", "positive_weight"]
Incomplete = Literal["skip", "error"]
Reduction = Literal["mean", "sum", "none"]

_ROWS = {"mean": MeanPositive, "lse": SumPositive, "each": EachPositive}


class Options(TypedDict, total=False):
    """The arguments of `Contrast`, for the named objectives that pass them on."""

    similarity: Similarity
    pairing: Pairing
    numerator: Numerator
    denominator: Denominator
    positive_weight: Callable[[Tensor], Tensor] | None
    probability_floor: float
    direction_weight: float
    detach: Collection[Detached]
    incomplete: Incomplete
    reduction: Reduction
    tile: Tile | str | None


class Contrast(nn.Module):
    """l_i = D_i - w_i A_i: a log denominator minus the positive logit, averaged over anchors.

    With logits a_ij = s(x_i, y_j) / temperature:

    - `numerator` says what A_i is where an anchor has several positives: their "mean" (SupCon's "out" form), the log
      of the "lse" sum of their exponentials ("in", HeCo), or "each" of them a loss of its own (its own denominator
      holds the other positives neither as positives nor as negatives).
    - `denominator` gives D_i: `All`, `Decoupled`, `Debiased`, or any function of `Rows`.
    - `positive_weight` maps the similarities of the positive pairs [N] to w [N] (DCLW); 1 if None.
    - `probability_floor` e turns the loss into -log(exp(A_i - D_i) + e), as published DCCF does with 1e-8.
    - `direction_weight` is the share of the direction a -> b; the rest goes to b -> a. Only across views. Where the
      reduction is "none", row i of `b` as an anchor goes with row i of `a` (pairs with themselves).
    - `detach` names what no gradient flows into: "anchors", "candidates" (in each direction, with the queue),
      "positive_weight".
    - `incomplete` says what happens to an anchor without a positive or with an empty denominator: "skip" leaves it out
      of numerator and count of the mean, "error" raises.
    - `reduction` "mean" divides by the number of complete anchors (of positive pairs where the numerator is "each");
      "sum" does not; "none" returns one loss per anchor (per pair, in the order of anchors), 0 where incomplete.
    - `temperature` is a number or a parameter of one element (then learned).
    - `tile` is the kernel's; None is the dense form, which alone can be differentiated twice.
    """

    def __init__(  # noqa: PLR0913 -- what a loss varies is an argument, not a subclass
        self,
        temperature: float | nn.Parameter = 0.2,
        *,
        similarity: Similarity = cosine,
        pairing: Pairing = across,
        numerator: Numerator = "mean",
        denominator: Denominator | None = None,
        positive_weight: Callable[[Tensor], Tensor] | None = None,
        probability_floor: float = 0.0,
        direction_weight: float = 1.0,
        detach: Collection[Detached] = (),
        incomplete: Incomplete = "skip",
        reduction: Reduction = "mean",
        tile: Tile | str | None = "auto",
    ) -> None:
        super().__init__()
        if not isinstance(temperature, Tensor):
            refuse_temperature(temperature)
        if not 0 <= direction_weight <= 1:
            raise InputError(f"direction_weight is a share between 0 and 1, not {direction_weight}.")
        if direction_weight < 1 and pairing is not across:
            raise InputError("direction_weight weighs the two directions of pairing=across; other pairings have one.")
        if probability_floor < 0:
            raise InputError(f"probability_floor must not be negative, got {probability_floor}.")
        for name, given, known in (
            ("numerator", [numerator], Numerator),
            ("detach", detach, Detached),
            ("incomplete", [incomplete], Incomplete),
            ("reduction", [reduction], Reduction),
        ):
            for word in given:
                refuse_unknown_word(name, word, get_args(known))
        self.temperature = temperature
        self.similarity = similarity
        self.pairing = pairing
        self.numerator = numerator
        self.denominator: Denominator = All() if denominator is None else denominator
        self.positive_weight = positive_weight
        self.probability_floor = probability_floor
        self.direction_weight = direction_weight
        self.detach = frozenset(detach)
        self.incomplete = incomplete
        self.reduction = reduction
        self.tile = tile

    def forward(  # noqa: PLR0913 -- what a call may know of its rows
        self,
        a: Tensor,
        b: Tensor,
        *,
        positives: Positives | Tensor | None = None,
        labels: Tensor | None = None,
        group: Tensor | None = None,
        weight: PairTerm | Tensor | None = None,
        candidate_weight: Tensor | None = None,
        negatives: Tensor | None = None,
        negative_group: Tensor | None = None,
        temperature: Tensor | None = None,
    ) -> Tensor:
        """The loss of views `a` [n, d] and `b` [m, d]: a scalar, or [N] where `reduction` is "none".

        The pairing makes N anchors and M candidates of them. Positives are, first of these that is given: `positives`
        (a `Positives` over anchors and candidates, or the candidate of each anchor, int64 [N], -1 for none), `labels`
        [n] (rows of one label), or the same row in the other view. An anchor that is a candidate is no positive of
        itself, whatever `positives` says.

        `group` [n]: rows of one group are never negatives of each other (false negatives); positives stay.
        `weight`: of pairs in the denominator, a matrix [N, M] or a `PairTerm`; 0 removes the pair. Not with the
        numerator "each".
        `candidate_weight` [M]: of candidates in the denominator (propensities).
        `negatives` [K, d]: more candidates that are positives of none (a queue), with `negative_group` [K].
        `temperature`: instead of the objective's own; a scalar, [N, 1] per anchor or [1, M] per candidate.

        Raises `InputError` where shapes disagree and where the loss is not finite.
        """
        with torch.autocast(a.device.type, enabled=False):
            first, second, *queued = tables(a, b, *([] if negatives is None else [negatives]))
            pairs = self.pairing(first, second)
            if self.numerator == "each" and weight is not None:
                raise InputError(
                    "weight weighs a positive in its denominator, too, which numerator='each' does not look up; "
                    "take numerator='mean', or candidate_weight."
                )
            if not pairs.negatives_within and not (weight is None and candidate_weight is None):
                raise InputError("weight and candidate_weight weigh negatives of the batch; this pairing has none.")
            chosen = positives_of(pairs, positives, labels)
            tau = self._tau(pairs, temperature)
            queue = queued[0] if queued else None
            queue_terms = queue_terms_of(pairs, group, negative_group)
            terms = terms_of(pairs, chosen, group, weight)
            bias = None if candidate_weight is None else log_weight_of(candidate_weight, pairs)
            loss = self._direction(pairs, chosen, terms, bias, queue, queue_terms, tau)
            if self.direction_weight < 1:
                if candidate_weight is not None or negative_group is not None:
                    raise InputError("candidate_weight and negative_group weigh one direction; use direction_weight=1.")
                back = replace(pairs, anchors=pairs.candidates, candidates=pairs.anchors)
                flipped = tuple(Transposed(term) for term in terms)
                other = self._direction(
                    back, chosen.transposed(), flipped, None, queue, (), tau.mT if tau.ndim else tau
                )
                if self.reduction == "none":
                    other = _in_order(other, chosen, by_pair=self.numerator == "each")
                loss = self.direction_weight * loss + (1 - self.direction_weight) * other
        return finite(loss, the_first_view=a, the_second_view=b, negatives=negatives)

    def _tau(self, pairs: Pairs, given: Tensor | None) -> Tensor:
        like = pairs.anchors
        chosen = self.temperature if given is None else given
        tau = torch.as_tensor(chosen, dtype=like.dtype, device=like.device)
        shape = (len(pairs.anchors), len(pairs.candidates))
        if isinstance(chosen, Tensor) and not (tau > 0).all():
            raise InputError(
                "temperature must be above 0; a learned one stays there as the exponential of a parameter."
            )
        if tau.numel() == 1:
            return tau.reshape(())
        if tau.shape not in ((shape[0], 1), (1, shape[1])):
            raise InputError(
                f"temperature is a scalar, [{shape[0]}, 1] per anchor or [1, {shape[1]}] per candidate, "
                f"not {list(tau.shape)}."
            )
        return tau

    def _direction(
        self,
        pairs: Pairs,
        positives: Positives,
        terms: tuple[PairTerm, ...],
        bias: Tensor | None,
        queue: Tensor | None,
        queue_terms: tuple[PairTerm, ...],
        tau: Tensor,
    ) -> Tensor:
        x = pairs.anchors.detach() if "anchors" in self.detach else pairs.anchors
        y = pairs.candidates
        if "candidates" in self.detach:
            y, queue = y.detach(), None if queue is None else queue.detach()
        # One call for both sides: a similarity may look at them together (centring).
        x, y = self.similarity(x, y if queue is None else torch.cat([y, queue]))
        per_candidate = tau.ndim == 2 and tau.shape[0] == 1
        if queue is not None:
            if per_candidate:
                raise InputError("A temperature per candidate does not reach the queue; use one per anchor.")
            y, queue = y[: len(pairs.candidates)], y[len(pairs.candidates) :]
        rows = _ROWS[self.numerator](
            x=x if per_candidate else x / tau,
            y=y / tau.mT if per_candidate else y,
            positives=positives,
            terms=terms,
            col_bias=bias,
            queue=queue,
            queue_terms=queue_terms,
            negatives_within=pairs.negatives_within,
            tau=tau,
            tile=self.tile,
        )
        return self._reduce(self._losses(rows), rows)

    def _losses(self, rows: MeanPositive) -> tuple[Tensor, Tensor]:
        """The loss of each row, and which rows are complete."""
        denominator, positive = self.denominator(rows), rows.positive
        complete = rows.present & ~torch.isneginf(denominator)
        if self.positive_weight is not None:
            similarity = positive * rows.temperature
            if "positive_weight" in self.detach:
                similarity = similarity.detach()
            weight = self.positive_weight(similarity[complete])  # an anchor left out weighs on no other
            positive = positive * torch.ones_like(positive).masked_scatter(complete, weight)
        log_probability = positive - denominator.masked_fill(torch.isneginf(denominator), 0.0)
        return -add_epsilon(log_probability, self.probability_floor), complete

    def _reduce(self, losses: tuple[Tensor, Tensor], rows: MeanPositive) -> Tensor:
        loss, complete = losses
        if self.incomplete == "error":
            rows.refuse_incomplete(complete)
        loss = torch.where(complete, loss, 0.0)
        if self.reduction == "none":
            return loss
        return loss.sum() / complete.sum().clamp(min=1) if self.reduction == "mean" else loss.sum()


def _in_order(back: Tensor, positives: Positives, *, by_pair: bool) -> Tensor:
    """Losses of the direction b -> a in the order of those of a -> b: pair by pair, or row by row."""
    if by_pair:
        return back[positives.place_when_transposed()]
    num_anchors, num_candidates = positives.shape
    if num_anchors != num_candidates:
        raise InputError(
            f"reduction='none' adds both directions row by row, but the first view has {num_anchors} rows and the "
            f"second {num_candidates}; use direction_weight=1 or another reduction."
        )
    return back
