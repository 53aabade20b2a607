"""What relates the members of the family to one another, and each to the dense formula."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.objectives import (
    DCL,
    DCLW,
    AdaptiveInfoNCE,
    ClusterWeight,
    Contrast,
    Debiased,
    Decoupled,
    Edges,
    HardNegativeInfoNCE,
    Index,
    InfoNCE,
    Labels,
    NTXent,
    PairMLP,
    Soft,
    SupCon,
    WeightedInfoNCE,
    across,
    across_and_within,
    cosine,
    dot,
    first_across_and_within,
    negative_squared_distance,
    within,
)

TEMPERATURES = st.sampled_from([0.05, 0.2, 1.0])
SEEDS = st.integers(0, 999)
ROWS = st.integers(2, 12)
identity = settings(max_examples=15, deadline=None)


def views(n, seed, d=5, count=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(count)]


def ids(n, high, seed):
    return torch.randint(high, (n,), generator=torch.Generator().manual_seed(seed))


def same(ours, theirs, inputs):
    """Equal values and equal gradients."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    for one, other in zip(
        torch.autograd.grad(ours.sum(), inputs), torch.autograd.grad(theirs.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@identity
@given(n=ROWS, seed=SEEDS, tau=TEMPERATURES)
def test_info_nce_is_cross_entropy_on_the_diagonal(n, seed, tau):
    a, b = views(n, seed)
    logits = F.normalize(a) @ F.normalize(b).T / tau
    same(InfoNCE(tau, tile=(4, 3))(a, b), F.cross_entropy(logits, torch.arange(n)), (a, b))


@identity
@given(n=ROWS, seed=SEEDS, tau=TEMPERATURES)
def test_info_nce_is_softplus_of_dcl(n, seed, tau):
    a, b = views(n, seed)
    same(NTXent(tau, reduction="none")(a, b), -F.logsigmoid(-DCL(tau, reduction="none")(a, b)), (a, b))


@identity
@given(n=ROWS, seed=SEEDS, tau=TEMPERATURES)
def test_supcon_with_distinct_labels_is_nt_xent(n, seed, tau):
    a, b = views(n, seed)
    labels = torch.randperm(n, generator=torch.Generator().manual_seed(seed)) * 7 - 3
    same(SupCon(tau, pairing=across_and_within)(a, labels, b), NTXent(tau)(a, b), (a, b))


@identity
@given(n=ROWS, seed=SEEDS, tau=TEMPERATURES)
def test_hard_negatives_without_concentration_or_prior_are_nt_xent(n, seed, tau):
    a, b = views(n, seed)
    same(HardNegativeInfoNCE(tau, beta=0.0, tau_plus=0.0)(a, b), NTXent(tau)(a, b), (a, b))


@identity
@given(n=ROWS, seed=SEEDS)
def test_a_weight_of_zero_removes_a_column_exactly(n, seed):
    a, b = views(n, seed)
    extra = views(1, seed + 1)[0]
    weight = torch.ones(n, n + 1, dtype=torch.float64)
    weight[:, n] = 0
    loss = InfoNCE(0.2, tile=(3, 4))(a, torch.cat([b, extra]), positives=torch.arange(n), weight=weight)
    same(loss, InfoNCE(0.2)(a, b), (a, b))
    loss = InfoNCE(0.2)(a, torch.cat([b, extra]), positives=torch.arange(n), weight=weight)
    assert torch.equal(torch.autograd.grad(loss, extra)[0], torch.zeros_like(extra))


@identity
@given(n=ROWS, seed=SEEDS)
def test_the_order_of_rows_does_not_matter(n, seed):
    a, b = views(n, seed)
    group = ids(n, 3, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    loss = NTXent(0.5, reduction="none")
    expected = loss(a, b, group=group).view(2, n)[:, order].flatten()
    torch.testing.assert_close(loss(a[order], b[order], group=group[order]), expected)


@identity
@given(n=ROWS, seed=SEEDS)
def test_the_kinds_of_positives_agree(n, seed):
    a, b = views(n, seed)
    labels = ids(n, 3, seed)
    alike = labels[:, None] == labels
    by_label = Labels(labels, labels)
    by_edge = Edges(alike.nonzero().T[:, torch.randperm(int(alike.sum()))], n, n)
    graded = Soft(lambda rows: alike[rows].double(), n, n, block=3)
    for numerator in ("mean", "lse", "each"):
        for options in ({}, {"denominator": Decoupled()}, {"direction_weight": 0.3}):
            loss = Contrast(0.3, numerator=numerator, **options)
            value = loss(a, b, positives=by_label)
            same(loss(a, b, positives=by_edge), value, (a, b))
            same(loss(a, b, positives=graded), loss(a, b, positives=by_label), (a, b))
    one = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    pairs = Edges(torch.stack([torch.arange(n), one]), n, n)
    for weight in (1.0, 0.4):
        loss = InfoNCE(0.3, direction_weight=weight)
        same(loss(a, b, positives=one), loss(a, b, positives=pairs), (a, b))


@identity
@given(n=ROWS, seed=SEEDS)
def test_the_inner_form_is_below_the_outer_one(n, seed):
    (z,) = views(n, seed, count=1)
    labels = ids(n, 2, seed)
    count = (labels[:, None] == labels).sum(1) - 1
    inner, outer = (SupCon(0.2, numerator=form, reduction="none")(z, labels) for form in ("lse", "mean"))
    rows = count > 0
    assert (inner[rows] + count[rows].log() <= outer[rows] + 1e-9).all()


@identity
@given(n=ROWS, seed=SEEDS)
def test_soft_targets_that_are_one_hot_are_info_nce_and_cost_at_least_their_entropy(n, seed):
    a, b = views(n, seed)
    eye = torch.eye(n, dtype=torch.float64)
    same(InfoNCE(0.3)(a, b, positives=Soft(lambda rows: eye[rows], n, n)), InfoNCE(0.3)(a, b), (a, b))
    target = torch.rand(n, n, dtype=torch.float64).softmax(1)
    loss = InfoNCE(0.3, reduction="none")(a, b, positives=Soft(lambda rows: target[rows], n, n, block=2))
    torch.testing.assert_close(loss, F.cross_entropy(F.normalize(a) @ F.normalize(b).T / 0.3, target, reduction="none"))
    assert (loss >= torch.special.entr(target).sum(1) - 1e-9).all()


@identity
@given(n=ROWS, m=ROWS, seed=SEEDS)
def test_soft_positives_may_be_turned_round(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    alike = (torch.rand(n, m, generator=generator, dtype=torch.float64) - 0.3).clamp(min=0)
    turned = Soft(lambda rows: alike[rows], n, m, block=2).transposed()
    plain = Soft(lambda rows: alike.T[rows], m, n)
    assert turned.shape == plain.shape
    assert turned.transposed().shape == (n, m)
    assert torch.equal(turned.present(), plain.present())
    assert torch.equal(turned.edges(), plain.edges())
    assert torch.equal(turned.tile(slice(1, 3), slice(0, 2)), plain.tile(slice(1, 3), slice(0, 2)))
    y = torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    same(turned.target(y).square().sum(), plain.target(y).square().sum(), (y,))


@identity
@given(n=ROWS, seed=SEEDS)
def test_candidate_weights_count_copies(n, seed):
    a, b = views(n, seed)
    times = ids(n, 3, seed) + 1
    copied = b.repeat_interleave(times, 0)
    first = times.cumsum(0) - times
    weighted = InfoNCE(0.2)(a, b, candidate_weight=times.double())
    same(weighted, InfoNCE(0.2)(a, copied, positives=first), (a, b))


@identity
@given(n=ROWS, seed=SEEDS)
def test_meow_with_one_cluster_per_row_is_one_way_dcl(n, seed):
    a, b = views(n, seed)
    same(WeightedInfoNCE(0.4)(a, b, torch.arange(n)[None]), InfoNCE(0.4, denominator=Decoupled())(a, b), (a, b))


@identity
@given(n=ROWS, k=st.integers(1, 9), seed=SEEDS)
def test_a_queue_is_more_candidates(n, k, seed):
    a, b = views(n, seed)
    queue = views(k, seed + 1)[0]
    group, queue_group = ids(n, 4, seed), ids(k, 4, seed + 1)
    allowed = torch.cat([(group[:, None] != group) | torch.eye(n, dtype=torch.bool), group[:, None] != queue_group], 1)
    loss = InfoNCE(0.2)
    ours = loss(a, b, negatives=queue, group=group, negative_group=queue_group)
    joined = loss(a, torch.cat([b, queue]), positives=torch.arange(n), weight=allowed.double())
    same(ours, joined, (a, b, queue))


@identity
@given(n=ROWS, m=ROWS, seed=SEEDS)
def test_temperatures_per_anchor_and_per_candidate(n, m, seed):
    (a, _), (b, _) = views(n, seed), views(m, seed + 1)
    index = ids(n, m, seed)
    generator = torch.Generator().manual_seed(seed)
    for shape in ((n, 1), (1, m), ()):
        tau = (torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1).requires_grad_()
        logits = F.normalize(a) @ F.normalize(b).T / tau
        same(InfoNCE()(a, b, positives=index, temperature=tau), F.cross_entropy(logits, index), (a, b, tau))


@identity
@given(n=ROWS, seed=SEEDS)
def test_directions_are_weighed(n, seed):
    a, b = views(n, seed)
    group = ids(n, 3, seed)
    weight = torch.rand(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    both = InfoNCE(0.2, direction_weight=0.75)(a, b, group=group, weight=weight)
    one = InfoNCE(0.2)
    expected = 0.75 * one(a, b, group=group, weight=weight) + 0.25 * one(b, a, group=group, weight=weight.T)
    same(both, expected, (a, b))


@identity
@given(n=ROWS, m=ROWS, seed=SEEDS)
def test_similarities_are_inner_products(n, m, seed):
    (x, _), (y, _) = views(n, seed), views(m, seed + 1)
    for similarity, oracle in (
        (dot, x @ y.T),
        (cosine, F.cosine_similarity(x[:, None], y, dim=2)),
        (negative_squared_distance, -torch.cdist(x, y).square()),
    ):
        left, right = similarity(x, y)
        torch.testing.assert_close(left @ right.T, oracle)


def test_a_similarity_may_have_parameters():
    a, b = views(6, 0)
    form = torch.nn.Linear(5, 5, bias=False).double()
    loss = InfoNCE(1.0, similarity=lambda x, y: (form(x), y))
    oracle = F.cross_entropy(form(a) @ b.T, torch.arange(6))
    same(loss(a, b), oracle, (a, b, form.weight))


@identity
@given(n=ROWS, seed=SEEDS, sigma=st.sampled_from([0.3, 0.5, 2.0]))
def test_the_weights_of_dclw_have_mean_one(n, seed, sigma):
    a, b = views(n, seed)
    s = F.cosine_similarity(a, b).repeat(2)
    weight = DCLW(sigma=sigma).positive_weight(s)
    assert abs(weight.mean().item() - 1) < 1e-12
    expected = DCL(0.1, reduction="none")(a, b) + (1 - weight) * s / 0.1
    torch.testing.assert_close(DCLW(0.1, sigma=sigma, reduction="none")(a, b), expected)


def test_a_learned_temperature_gets_its_gradient():
    a, b = views(6, 0)
    tau = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    loss = NTXent(tau)
    assert list(loss.parameters()) == [tau]
    assert torch.autograd.gradcheck(lambda t: NTXent(0.1)(a, b, temperature=t), (tau,))
    loss(a, b).backward()
    assert tau.grad is not None


def test_cluster_weights_between_different_sets():
    a, _ = views(5, 0)
    b, _ = views(7, 1)
    of_a, of_b = torch.stack([ids(5, 3, k) for k in (0, 1)]), torch.stack([ids(7, 3, k) for k in (2, 3)])
    index = torch.arange(5)
    weight = (of_a[:, :, None] != of_b[:, None]).sum(0).double()
    ours = InfoNCE(0.4)(a, b, positives=index, weight=ClusterWeight(of_a, of_b))
    same(ours, InfoNCE(0.4)(a, b, positives=index, weight=weight), (a, b))


def test_false_negatives_stay_out_and_positives_in():
    a, b = views(6, 3)
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    ours = NTXent(0.5, reduction="none")(a, b, group=labels)
    z, y = F.normalize(torch.cat([a, b])), labels.repeat(2)
    logits = z @ z.T / 0.5
    positive = logits[torch.arange(12), torch.arange(12).roll(6)]
    negative = logits.masked_fill(y[:, None] == y, -torch.inf).logsumexp(1)
    same(ours, torch.logaddexp(positive, negative) - positive, (a, b))


def test_index_may_leave_an_anchor_out():
    a, b = views(4, 0)
    ours = InfoNCE(0.2)(a, b, positives=Index(torch.tensor([0, -1, 2, 3]), 4))
    rows = InfoNCE(0.2, reduction="none")(a, b)
    same(ours, rows[[0, 2, 3]].mean(), (a, b))


@pytest.mark.parametrize("numerator", ["mean", "lse", "each"])
def test_one_view_with_labels_against_loops(numerator):
    (z,) = views(7, 5, count=1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 3])
    logits = (F.normalize(z) @ F.normalize(z).T / 0.1).tolist()
    terms = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        negatives = [j for j in others if labels[j] != labels[i]]

        def lse(columns, i=i):
            return torch.tensor([logits[i][j] for j in columns], dtype=torch.float64).logsumexp(0).item()

        if positives and numerator == "mean":
            terms.append(lse(others) - sum(logits[i][j] for j in positives) / len(positives))
        elif positives and numerator == "lse":
            terms.append(lse(others) - lse(positives))
        else:
            terms += [lse([*negatives, j]) - logits[i][j] for j in positives]
    loss = Contrast(0.1, pairing=within, numerator=numerator)(z, z, labels=labels)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)


@pytest.mark.parametrize("numerator", ["mean", "lse", "each"])
@pytest.mark.parametrize("pairing", [within, across_and_within, first_across_and_within])
def test_an_anchor_is_no_positive_of_itself_whoever_says_so(numerator, pairing):
    (z,) = views(6, 5, count=1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    anchor, candidate = (labels.repeat(times) for times in pairing(z, z).repeat)
    alike = anchor[:, None] == candidate  # with the diagonal, as kernels and graphs with loops have it
    loss = Contrast(0.3, pairing=pairing, numerator=numerator)
    shape = tuple(alike.shape)
    for positives in (
        Soft(lambda rows: alike[rows].double(), *shape, block=4),
        Soft(lambda rows: alike.T[rows].double(), *shape[::-1], block=4).transposed(),
        Edges(alike.nonzero().T, *shape),
        Labels(anchor, candidate),
    ):
        same(loss(z, z, positives=positives), loss(z, z, labels=labels), (z,))
    if pairing is within:
        itself = Index(torch.tensor([2, 4, 2, 3, 1, 0]), 6)
        same(loss(z, z, positives=itself), loss(z, z, positives=torch.tensor([2, 4, -1, -1, 1, 0])), (z,))


@pytest.mark.parametrize("pairing", [across, across_and_within, first_across_and_within])
def test_weights_of_rows_follow_the_pairing(pairing):
    a, b = views(40, 3)
    clusters = torch.stack([ids(40, 30, 1), ids(40, 50, 2)])
    anchor, candidate = (clusters.repeat(1, times) for times in pairing(a, b).repeat)
    weight = 2.0 - (anchor[:, :, None] == candidate[:, None]).sum(0).double()
    ours = WeightedInfoNCE(0.4, pairing=pairing)(a, b, clusters)
    same(ours, Contrast(0.4, pairing=pairing)(a, b, weight=weight), (a, b))
    net = PairMLP(5, 4).double()
    pairs = pairing(a, b)
    matrix = net(pairs.anchors, pairs.candidates).exp()
    ours = AdaptiveInfoNCE(net, 0.4, pairing=pairing)(a, b)
    same(ours, Contrast(0.4, pairing=pairing)(a, b, weight=matrix), (a, b, *net.parameters()))


@pytest.mark.parametrize("denominator", [Debiased(0.1), Debiased(0.0, 1.0), Debiased(0.1, 1.0)])
def test_learned_weights_count_negatives_with_a_gradient(denominator):
    a, b = views(5, 4)
    weight = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).add(0.5).requires_grad_()
    share = torch.linspace(0.5, 1.5, 5, dtype=torch.float64).requires_grad_()
    loss = InfoNCE(0.5, denominator=denominator)
    assert torch.autograd.gradcheck(lambda a, b, w, c: loss(a, b, weight=w, candidate_weight=c), (a, b, weight, share))


@identity
@given(n=ROWS, seed=SEEDS)
def test_each_of_one_positive_is_their_mean_with_weighed_candidates_too(n, seed):
    a, b = views(n, seed)
    share = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1
    one, each = (InfoNCE(0.3, numerator=numerator)(a, b, candidate_weight=share) for numerator in ("mean", "each"))
    same(each, one, (a, b))
