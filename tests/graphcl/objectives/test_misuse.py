"""What contrastive losses are told about rows: what does not fit is refused, what is left out counts for nothing."""

import pickle

import pytest
import torch

from graphcl.errors import InputError
from graphcl.objectives import (
    DCL,
    DCLW,
    AdaptiveInfoNCE,
    All,
    ClusterWeight,
    DebiasedInfoNCE,
    Decoupled,
    Edges,
    Index,
    InfoNCE,
    MomentumInfoNCE,
    NTXent,
    Soft,
    SupCon,
    WeightedInfoNCE,
    across,
    across_and_within,
    alignment,
    alignment_tempered,
    attraction_repulsion,
    attraction_repulsion_to_keys,
    barlow_twins,
    circle,
    dot,
    group_ordering,
    joint_entropy,
    jsd,
    margin_regulariser,
    neighborhood_cross_entropy,
    pair_cross_entropy,
    vicreg,
)
from graphcl.objectives.fused import paired_nce

GENERATOR = torch.Generator().manual_seed(0)
A, B = torch.randn(2, 4, 8, generator=GENERATOR)


def edges(*pairs, rows=4, cols=4):
    return Edges(torch.tensor(pairs).T, rows, cols)


@pytest.mark.parametrize(
    ("positives", "message"),
    [
        (torch.tensor([0, 1, 2, 9]), r"candidate 9 is named, but they are numbered -1\.\.3"),
        (Index(torch.tensor([0, 1, 2, -2]), 4), "candidate -2 is named"),
        (edges((0, 1), (1, 4)), r"candidate 4 is named, but they are numbered 0\.\.3"),
        (edges((4, 1)), "anchor 4 is named"),
        (edges((0, 1), rows=1), "of 1 anchors and 4 candidates, but there are 4 and 4"),
        (Soft(lambda rows: torch.ones(4, 5)[rows], 4, 5), "of 4 anchors and 5 candidates"),
    ],
)
@pytest.mark.parametrize("numerator", ["mean", "lse", "each"])
def test_positives_that_do_not_fit_are_refused(positives, message, numerator):
    with pytest.raises(InputError, match=message):
        InfoNCE(numerator=numerator)(A, B, positives=positives)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MomentumInfoNCE()(A, B, negatives=A, weight=torch.ones(4, 4)), "this pairing has none"),
        (lambda: MomentumInfoNCE()(A, B, negatives=A, candidate_weight=torch.ones(4)), "this pairing has none"),
        (lambda: InfoNCE()(A, B, weight=-torch.ones(4, 4)), "weight must not be negative"),
        (lambda: InfoNCE(numerator="each")(A, B, weight=torch.ones(4, 4)), "take numerator='mean'"),
        (
            lambda: NTXent()(A, B, weight=ClusterWeight(torch.zeros(1, 4, dtype=torch.int64))),
            "clusters of 4 anchors and 4 candidates, but the pairing makes 8 and 8",
        ),
        (lambda: InfoNCE()(A, B, temperature=torch.tensor(-0.2)), "temperature must be above 0"),
        (lambda: InfoNCE(torch.nn.Parameter(torch.tensor(-0.2)))(A, B), "temperature must be above 0"),
        (lambda: SupCon()(A, torch.tensor([0, 0, 1, 1]), B), "pairing=across_and_within"),
        (lambda: All(-1.0), "must not be negative"),
        (lambda: Decoupled(float("nan")), "must not be negative"),
        (lambda: paired_nce(A, B, 0.0), "temperature must be above 0"),
        (lambda: paired_nce(A, B * float("nan"), 0.2), "row 0 of the second view holds NaN"),
        (lambda: alignment(A, B[:1]), "the first has 4 and the second 1"),
        (lambda: jsd(A, B[:2]), "candidate 2 is named"),
        (lambda: pair_cross_entropy(A, B[:2]), "candidate 2 is named"),
        (lambda: circle(A, torch.tensor([0, 1])), r"a label for each row, \[4\], but labels have \[2\]"),
        (lambda: InfoNCE(reduction="none", direction_weight=0.5)(A, B[:3], positives=torch.tensor([0, 1, 2, -1])),
         "the first view has 4 rows and the second 3"),
    ],
)  # fmt: skip
def test_misuse_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_losses_of_both_directions_are_of_the_same_pair():
    pairs = edges((0, 1), (1, 0), (0, 0))
    loss = InfoNCE(numerator="each", reduction="none")
    forward, back = loss(A, B, positives=pairs), loss(B, A, positives=pairs.transposed())
    assert pairs.edges().T.tolist() == [[0, 1], [0, 0], [1, 0]]
    assert pairs.transposed().edges().T.tolist() == [[0, 1], [0, 0], [1, 0]]
    both = InfoNCE(numerator="each", reduction="none", direction_weight=0.5)(A, B, positives=pairs)
    torch.testing.assert_close(both, (forward + back[[2, 1, 0]]) / 2)


@pytest.mark.parametrize("denominator", [Decoupled(), Decoupled(1e-8)])
def test_epsilon_does_not_hide_an_empty_denominator(denominator):
    group = torch.tensor([0, 0, 0, 1])
    rows = DCL(pairing=across, denominator=denominator, reduction="none")(A, B, group=group)
    assert (rows != 0).all()
    alone = torch.zeros(4, dtype=torch.int64)
    assert DCL(pairing=across, denominator=denominator)(A, B, group=alone) == 0
    with pytest.raises(InputError, match="Anchor 0 has an empty denominator"):
        DCL(pairing=across, denominator=denominator, incomplete="error")(A, B, group=alone)


def test_epsilon_does_not_hide_that_all_share_every_cluster():
    assert WeightedInfoNCE(denominator=All(1e-8))(A, B, torch.zeros(2, 4, dtype=torch.int64)) == 0


@pytest.mark.parametrize("numerator", ["mean", "lse", "each"])
def test_anchors_without_a_positive_can_be_refused(numerator):
    loss = InfoNCE(numerator=numerator, incomplete="error")
    with pytest.raises(InputError, match="Anchor 1 has no positive"):
        loss(A, B, positives=torch.tensor([0, -1, 2, 3]))


def test_an_anchor_left_out_weighs_on_no_other():
    loss = DCLW(pairing=across, similarity=dot)
    index = torch.tensor([0, 1, 2, -1])
    torch.testing.assert_close(loss(A, B, positives=index), loss(A[:3], B, positives=index[:3]))


def test_a_weight_net_needs_no_parameters():
    class Flat(torch.nn.Module):
        def forward(self, x, y):
            return torch.zeros(len(x), len(y))

    torch.testing.assert_close(AdaptiveInfoNCE(Flat(), 0.2)(A, B), InfoNCE(0.2)(A, B))
    group = torch.tensor([0, 0, 1, 2])
    torch.testing.assert_close(AdaptiveInfoNCE(Flat(), 0.2)(A, B, group), InfoNCE(0.2)(A, B, group=group))


def test_an_error_leaves_gradients_on():
    wrong = Soft(lambda rows: torch.ones(4, 5)[rows], 4, 4)
    with pytest.raises(RuntimeError):
        wrong.target(A)
    assert torch.is_grad_enabled()


OF_TWO_VIEWS = {
    "infonce": InfoNCE(),
    "ntxent": NTXent(),
    "supcon": lambda a, b: SupCon(pairing=across_and_within)(a, torch.arange(len(a)) // 2, b),
    "dcl": DCL(),
    "debiased": DebiasedInfoNCE(),
    "momentum": lambda a, b: MomentumInfoNCE()(a, a, negatives=b),
    "alignment": alignment,
    "barlow_twins": barlow_twins,
    "vicreg": vicreg,
    "jsd": jsd,
    "sigmoid": pair_cross_entropy,
    "neighborhood": lambda a, b: neighborhood_cross_entropy(a, b, A),
    "margin": margin_regulariser,
    "alignment_tempered": alignment_tempered,
    "attraction_repulsion": lambda a, b: attraction_repulsion((a, b)),
    "group_ordering": lambda a, b: group_ordering((a, b), n_negatives=1),
}
of_two_views = pytest.mark.parametrize("objective", OF_TWO_VIEWS.values(), ids=OF_TWO_VIEWS)


@of_two_views
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (A, B.long(), "floating point"),
        (A, B[:, :3], "one width"),
        (A, B[0], r"tables of rows, \[N, d\], but one has the shape \[8\]"),
        (A, B[None], r"tables of rows"),
    ],
)
def test_what_is_no_table_like_the_other_is_refused(objective, a, b, message):
    with pytest.raises(InputError, match=message):
        objective(a, b)


@of_two_views
def test_views_of_two_precisions_meet_in_the_finer_one(objective):
    torch.testing.assert_close(objective(A.double(), B), objective(A.double(), B.double()))


@pytest.mark.parametrize("objective", [alignment, joint_entropy, alignment_tempered])
def test_a_mean_over_no_row_is_refused(objective):
    with pytest.raises(InputError, match="at least 1 row, got 0"):
        objective(A[:0], B[:0])


def test_no_row_at_all_has_the_loss_zero():
    assert SupCon()(A[:0], labels=torch.zeros(0, dtype=torch.long)) == InfoNCE()(A[:0], B[:0]) == 0


@pytest.mark.parametrize("shape", [(2, 6), (4,), (4, 2), (0, 4)])
def test_clusters_are_of_the_rows(shape):
    with pytest.raises(InputError, match=r"clusters needs the shape \[K, 4\]"):
        WeightedInfoNCE()(A, B, torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    "contrast",
    [
        lambda: attraction_repulsion((A, B[:1])),
        lambda: attraction_repulsion_to_keys((A,), B[:1]),
        lambda: group_ordering((A, B[:3]), n_negatives=2),
    ],
)
def test_views_of_other_rows_are_refused(contrast):
    with pytest.raises(InputError, match="Two views need the same rows"):
        contrast()


def test_attraction_needs_queries():
    with pytest.raises(InputError, match="at least one view"):
        attraction_repulsion_to_keys((), B)


@pytest.mark.parametrize(
    ("positives", "message"),
    [
        (lambda: torch.ones(4, dtype=torch.bool), r"int64 \[N\], got torch.bool"),
        (lambda: torch.ones(4, 4), "say pairs as Edges"),
        (lambda: Edges(torch.zeros(3, 2, dtype=torch.int64), 4, 4), r"integers \[2, E\]"),
        (lambda: Edges(torch.zeros(2, 2, dtype=torch.int64), 4, 4, torch.ones(3)), r"2 pairs came with weights"),
        (lambda: Edges(torch.zeros(2, 1, dtype=torch.int64), 4, 4, -torch.ones(1)), "not be negative"),
    ],
)
def test_positives_of_the_wrong_kind_are_refused(positives, message):
    with pytest.raises(InputError, match=message):
        InfoNCE()(A, B, positives=positives())


def test_jsd_takes_the_candidate_of_each_anchor():
    assert torch.equal(jsd(A, B, positives=torch.arange(4)), jsd(A, B))


@pytest.mark.parametrize(
    "contrast",
    [
        lambda t: margin_regulariser(A, B, temperature=t),
        lambda t: pair_cross_entropy(A, B, temperature=t),
        lambda t: joint_entropy(A, B, temperature=t),
        lambda t: attraction_repulsion_to_keys((A,), B, temperature=t),
        lambda t: paired_nce(A, B, t),
        InfoNCE,
    ],
)
def test_a_temperature_is_above_zero(contrast):
    with pytest.raises(InputError, match=r"temperature must be above 0, not -0\.2"):
        contrast(-0.2)


def test_a_tile_is_no_other_word():
    with pytest.raises(InputError, match="'auto' is the nearest"):
        InfoNCE(tile="dense")(A, B)


def test_dclw_can_be_copied_to_other_processes():
    assert torch.equal(pickle.loads(pickle.dumps(DCLW()))(A, B), DCLW()(A, B))
