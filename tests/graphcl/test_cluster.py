"""k-means against brute force, scikit-learn and its own invariants."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from graphcl.cluster import assign, concentrations, kmeans
from graphcl.errors import InputError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(per_blob: int = 40, centres: int = 5, width: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(seed)
    middle = torch.randn(centres, width, generator=draw, dtype=torch.float64) * 20
    label = torch.arange(centres).repeat_interleave(per_blob)
    return middle[label] + torch.randn(len(label), width, generator=draw, dtype=torch.float64), label


def test_separated_blobs_are_found():
    x, label = blobs()
    found = kmeans(x, 5, generator=generator(), n_init=3)
    for blob in range(5):
        assert found.assignment[label == blob].unique().numel() == 1
    assert found.assignment.unique().numel() == 5


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_result_is_consistent(points, clusters, width, seed, repeated):
    x = torch.randn(points, width, generator=generator(seed), dtype=torch.float64)
    x = x[:1].expand_as(x) if repeated else x
    if points < clusters:
        with pytest.raises(InputError, match="at least as many points"):
            kmeans(x, clusters, generator=generator())
        return
    found = kmeans(x, clusters, generator=generator(seed), max_iter=100, tol=0)
    distance = (x[:, None] - found.centroids).square().sum(-1)
    torch.testing.assert_close(distance.min(1).values.sum(), found.inertia)
    torch.testing.assert_close(distance.gather(1, found.assignment[:, None])[:, 0], distance.min(1).values)
    for cluster in found.assignment.unique():
        if not repeated:  # converged: each centroid is the mean of its members
            torch.testing.assert_close(x[found.assignment == cluster].mean(0), found.centroids[cluster])


def test_objective_is_as_good_as_scikit_learns():
    x = torch.randn(2000, 8, generator=generator())
    ours = min(float(kmeans(x, 20, generator=generator(seed), max_iter=50).inertia) for seed in range(3))
    theirs = KMeans(20, n_init=3, max_iter=50, random_state=0).fit(x.numpy()).inertia_
    assert ours < 1.01 * theirs


def test_chunks_do_not_change_the_assignment(monkeypatch):
    x = torch.randn(103, 4, generator=generator())
    whole = assign(x, x[:7])
    monkeypatch.setattr("graphcl.cluster._CHUNK_CELLS", 70)
    for one, other in zip(whole, assign(x, x[:7]), strict=True):
        torch.testing.assert_close(one, other)


def test_warm_start_never_ends_worse_and_the_draw_repeats():
    x = torch.randn(500, 6, generator=generator())
    cold = kmeans(x, 12, generator=generator(3), max_iter=3)
    warm = kmeans(x, 12, generator=generator(4), init=cold.centroids, max_iter=5)
    assert warm.inertia <= cold.inertia
    again = kmeans(x, 12, generator=generator(3), max_iter=3)
    assert torch.equal(cold.centroids, again.centroids)


def test_an_empty_cluster_takes_the_worst_placed_point():
    x = torch.tensor([[0.0], [0.1], [0.2], [50.0]])
    found = kmeans(x, 2, generator=generator(), init=torch.tensor([[0.0], [-900.0]]))
    assert found.assignment.tolist() in ([0, 0, 0, 1], [1, 1, 1, 0])


def test_inner_products_ignore_the_length_of_points():
    x = torch.tensor([[1.0, 0.0], [9.0, 0.1], [0.0, 1.0], [0.1, 7.0]])
    found = kmeans(x, 2, generator=generator(), init=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), metric="inner")
    assert found.assignment.tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(found.inertia, -(x * found.centroids[found.assignment]).sum())


def test_points_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="NaN or infinity"):
        kmeans(torch.tensor([[1.0], [float("nan")]]), 1, generator=generator())


def test_blobs_far_from_the_origin_are_found():
    # In float32 a squared length of 10^8 has no digit left for distances of 1.
    x = blobs()[0]
    x = (x - x.mean(0)).float()
    near, far = (kmeans(x + shift, 5, generator=generator(), n_init=3) for shift in (0.0, 3e3))
    torch.testing.assert_close(far.inertia, near.inertia, rtol=1e-3, atol=0)


def test_mistakes_are_named():
    x = torch.randn(6, 2, generator=generator())
    with pytest.raises(InputError, match="at least one cluster and one start, got 0 and 1"):
        kmeans(x, 0, generator=generator())
    with pytest.raises(InputError, match=r"init must hold 3 centroids of 2 numbers, got \(2, 2\)"):
        kmeans(x, 3, generator=generator(), init=x[:2])


def test_clusters_of_equal_points_get_a_temperature():
    label = torch.tensor([0, 0, 1, 1])
    some = concentrations(torch.tensor([0.0, 0.0, 1.0, 1.0]), label, 2, temperature=0.3)
    torch.testing.assert_close(some, torch.full((2,), 0.3))
    torch.testing.assert_close(concentrations(torch.zeros(4), label, 2, temperature=0.3), torch.full((2,), 0.3))


def test_concentrations_by_hand():
    # Clusters of 3, 2 and 1 points; the single point takes the largest value, quantiles clip, the mean is set.
    spread = torch.tensor([1.0, 4.0, 9.0, 16.0, 16.0, 1.0])
    label = torch.tensor([0, 0, 0, 1, 1, 2])
    raw = torch.tensor([6 / (3 * torch.log(torch.tensor(13.0))), 8 / (2 * torch.log(torch.tensor(12.0)))])
    raw = torch.stack([raw[0], raw[1], raw.max()])
    raw = raw.clamp(torch.quantile(raw, 0.1), torch.quantile(raw, 0.9))
    torch.testing.assert_close(concentrations(spread, label, 3, temperature=0.3), 0.3 * raw / raw.mean())


def test_misspelt_words_and_broken_starts_are_refused():
    x, generator = torch.randn(6, 2), torch.Generator()
    with pytest.raises(InputError, match="metric: 'cosine' is none of euclidean, inner"):
        kmeans(x, 2, generator=generator, metric="cosine")
    with pytest.raises(InputError, match="centroids of init contain NaN"):
        kmeans(x, 2, generator=generator, init=torch.full((2, 2), float("nan")))
