"""Where contrastive losses break: no negatives, no positives, extreme temperatures and norms, NaN."""

import pytest
import torch
import torch.nn.functional as F

from graphcl.encoders.intents import intent_mixture
from graphcl.errors import InputError
from graphcl.objectives import (
    DCL,
    AdaptiveInfoNCE,
    Debiased,
    DebiasedInfoNCE,
    HardNegativeInfoNCE,
    InfoNCE,
    MomentumInfoNCE,
    NTXent,
    PairMLP,
    Soft,
    SupCon,
    WeightedInfoNCE,
    across,
    attraction_repulsion,
    barlow_twins,
    circle,
    dot,
    first_across_and_within,
    jsd,
    pair_cross_entropy,
    pair_sum,
    vicreg,
)
from graphcl.objectives.fused import paired_nce


def views(n, d=6, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator).to(dtype).requires_grad_() for _ in range(2)]


def assert_finite_with_gradients(loss, *inputs):
    assert torch.isfinite(loss).all()
    for gradient in torch.autograd.grad(loss.sum(), inputs, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


LOSSES = [
    InfoNCE(),
    NTXent(),
    DCL(),
    DCL(pairing=first_across_and_within),
    HardNegativeInfoNCE(),
    HardNegativeInfoNCE(tau_plus=0.0),
    DebiasedInfoNCE(),
    MomentumInfoNCE(detach=()),
    InfoNCE(denominator=Debiased(0.1, 2.0)),
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("tile", ["auto", None])
def test_one_row_and_two(loss, n, tile):
    a, b = views(n)
    loss.tile = tile
    assert_finite_with_gradients(loss(a, b), a, b)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("tile", ["auto", (2, 2), None])
def test_a_batch_of_one_group_has_no_negatives(loss, tile):
    a, b = views(5)
    loss.tile = tile
    assert_finite_with_gradients(loss(a, b, group=torch.zeros(5, dtype=torch.int64)), a, b)


def test_rows_without_negatives_are_skipped_or_refused():
    a, b = views(4)
    group = torch.tensor([0, 0, 0, 0])
    group_of_one = torch.tensor([0, 0, 0, 1])
    assert DCL(pairing=across)(a, b, group=group) == 0
    loss = DCL(pairing=across, reduction="none")(a, b, group=group_of_one)
    assert DCL(pairing=across)(a, b, group=group_of_one).item() == pytest.approx(loss.mean().item())
    with pytest.raises(InputError, match="Anchor 0 has an empty denominator"):
        DCL(pairing=across, incomplete="error")(a, b, group=group)


def test_meow_skips_an_anchor_that_shares_every_cluster():
    a, b = views(4)
    assert_finite_with_gradients(WeightedInfoNCE()(a, b, torch.zeros(2, 4, dtype=torch.int64)), a, b)


def test_rows_without_positives_are_left_out_of_the_mean_or_refused():
    z, _ = views(5)
    labels = torch.tensor([0, 0, 1, 2, 3])
    rows = SupCon(reduction="none")(z, labels)
    assert (rows[2:] == 0).all()
    assert SupCon()(z, labels).item() == pytest.approx(rows[:2].mean().item())
    assert SupCon(reduction="sum")(z, labels).item() == pytest.approx(rows.sum().item())
    with pytest.raises(InputError, match="Anchor 2 has no positive"):
        SupCon(incomplete="error")(z, labels)
    assert_finite_with_gradients(SupCon()(z, torch.arange(5)), z)


@pytest.mark.parametrize("loss", [InfoNCE(0.005), NTXent(0.005), DCL(0.005), HardNegativeInfoNCE(0.005)])
def test_a_temperature_of_a_two_hundredth(loss):
    a, b = views(50)
    assert_finite_with_gradients(loss(a, b), a, b)


def test_large_norms_with_dot_products():
    a, b = (1e4 * z for z in views(20))
    value = InfoNCE(1.0, similarity=dot)(a, b)
    torch.testing.assert_close(value, F.cross_entropy(a @ b.T, torch.arange(20)))
    assert_finite_with_gradients(NTXent(1.0, similarity=dot)(a, b), a, b)


def test_zero_rows_have_a_finite_cosine():
    a, b = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    assert_finite_with_gradients(NTXent()(a, b), a, b)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_named(bad):
    a, b = (z.detach() for z in views(6))
    b[4, 2] = bad
    with pytest.raises(InputError, match="row 4 of the second view holds NaN or infinity"):
        InfoNCE()(a, b)
    with pytest.raises(InputError, match="row 4 of negatives"):
        InfoNCE()(a, a, negatives=b)


def test_overflow_is_named():
    a, b = (z * 1e30 for z in views(6))
    with pytest.raises(InputError, match="overflow"):
        InfoNCE(similarity=dot)(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [InfoNCE(0.05), NTXent(0.05), DCL(0.05)])
def test_half_precision_rows(dtype, loss):
    a, b = views(30, dtype=dtype)
    value = loss(a, b)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(a.float(), b.float()))
    assert torch.autograd.grad(value, a)[0].dtype == dtype


UNDER_AUTOCAST = {
    "infonce": InfoNCE(0.05),
    "streamed": InfoNCE(0.05, tile=(7, 9)),
    "adaptive": AdaptiveInfoNCE(PairMLP(6, 4)),
    "soft": lambda a, b: InfoNCE(0.05)(a, b, positives=Soft(lambda rows: torch.eye(30)[rows], 30, 30)),
    "paired": lambda a, b: paired_nce(a, b, 0.05),
    "pair_sum": lambda a, b: pair_sum(a, b, lambda logits, rows, cols: logits).sum(),
    "jsd": jsd,
    "sigmoid": pair_cross_entropy,
    "attraction": lambda a, b: attraction_repulsion((a, b)),
    "circle": lambda a, b: circle(torch.cat([a, b]), torch.arange(30).repeat(2)),
    "intents": lambda a, b: intent_mixture(a, b.T).square().mean(),
}


@pytest.mark.parametrize("loss", UNDER_AUTOCAST.values(), ids=UNDER_AUTOCAST)
def test_autocast_changes_neither_values_nor_gradients(loss):
    a, b = views(30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(a, b)
        (grad_inside,) = torch.autograd.grad(inside, a)
    outside = loss(a, b)
    assert torch.equal(inside, outside)
    assert torch.equal(grad_inside, torch.autograd.grad(outside, a)[0])


@pytest.mark.parametrize("loss", [barlow_twins, vicreg])
def test_autocast_changes_no_value_of_plain_operations(loss):
    a, b = views(30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(a, b)
    assert torch.equal(inside, loss(a, b))


def test_non_contiguous_rows():
    a, b = (z.T for z in views(6, 9))
    assert torch.equal(NTXent()(a, b), NTXent()(a.contiguous(), b.contiguous()))


def test_integer_minded_mistakes_are_named():
    a, b = views(6)
    with pytest.raises(InputError, match="temperature must be above 0"):
        InfoNCE(0.0)
    with pytest.raises(InputError, match="direction_weight"):
        NTXent(direction_weight=0.5)
    with pytest.raises(InputError, match="same rows"):
        NTXent()(a, b[:5])
    with pytest.raises(InputError, match="pass positives= or labels="):
        InfoNCE()(a, b[:5])
    with pytest.raises(InputError, match=r"group has shape \[5\]"):
        InfoNCE()(a, b, group=torch.zeros(5))
    with pytest.raises(InputError, match=r"weight needs the shape"):
        InfoNCE()(a, b, weight=torch.ones(5, 6))
    with pytest.raises(InputError, match="temperature is a scalar"):
        InfoNCE()(a, b, temperature=torch.ones(6))
    with pytest.raises(InputError, match="pass group="):
        InfoNCE()(a, b, negatives=b, negative_group=torch.zeros(6))
    with pytest.raises(InputError, match="reduction: 'men' is none of mean, sum, none; 'mean' is the nearest"):
        InfoNCE(reduction="men")
    with pytest.raises(InputError, match="'anchors' is the nearest"):
        InfoNCE(detach=("anchor",))
    with pytest.raises(InputError, match="probability_floor must not be negative"):
        InfoNCE(probability_floor=-1e-8)
    with pytest.raises(InputError, match="tau_plus is a probability"):
        DebiasedInfoNCE(tau_plus=1.0)
    for loss in (barlow_twins, vicreg):
        with pytest.raises(InputError, match="at least two rows"):
            loss(a[:1], b[:1])


@pytest.mark.parametrize("loss", [InfoNCE(), NTXent(), HardNegativeInfoNCE()])
def test_a_second_derivative_needs_the_dense_form(loss):
    a, b = (z.detach().double().requires_grad_() for z in views(5))
    loss.tile = "auto"
    with pytest.raises(InputError, match="tile=None"):
        torch.autograd.grad(loss(a, b), a, create_graph=True)
    loss.tile = None
    assert torch.autograd.gradgradcheck(loss, (a, b), atol=1e-4)


def test_what_is_detached_gets_no_gradient():
    a, b = views(5)
    loss = InfoNCE(detach=("candidates",))(a, b)
    assert torch.autograd.grad(loss, (a, b), allow_unused=True)[1] is None
    queue = views(7, seed=1)[0]
    loss = MomentumInfoNCE()(a, b, negatives=queue)
    assert torch.autograd.grad(loss, (a, b, queue), allow_unused=True)[1:] == (None, None)


def test_a_candidate_that_weighs_nothing_leaves_every_gradient_finite():
    a, b = views(4)
    weight = torch.tensor([0.0, 1.0, 2.0, 3.0], requires_grad=True)
    (grad,) = torch.autograd.grad(InfoNCE()(a, b, candidate_weight=weight), weight)
    assert torch.isfinite(grad).all()
    assert grad[0] == 0
    with pytest.raises(InputError, match="candidate_weight must not be negative"):
        InfoNCE()(a, b, candidate_weight=-weight.detach())


def test_a_weight_net_works_in_its_own_type():
    a, b = (z.detach() for z in views(9))
    net = PairMLP(6, 4)
    torch.testing.assert_close(AdaptiveInfoNCE(net)(a.double(), b.double()).float(), AdaptiveInfoNCE(net)(a, b))
    assert torch.isfinite(AdaptiveInfoNCE(net.double())(a, b))
