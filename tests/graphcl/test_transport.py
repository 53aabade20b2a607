"""Balanced assignments and transported clouds."""

import pytest
import torch

from graphcl.errors import InputError
from graphcl.transport import balanced_assignment, transported


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_rows_sum_to_one_and_clusters_are_alike_large(temperature):
    scores = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    share = balanced_assignment(scores, temperature=temperature, n_iter=2000)
    torch.testing.assert_close(share.sum(1), torch.ones(60, dtype=torch.float64))
    torch.testing.assert_close(share.sum(0), torch.full((4,), 15.0, dtype=torch.float64), atol=1e-3, rtol=0)


def test_separate_clusters_get_their_own_rows_and_no_temperature_overflows():
    scores = torch.eye(4).repeat(5, 1)
    for temperature in (0.05, 1e-6):
        share = balanced_assignment(scores, temperature=temperature)
        assert torch.equal(share.argmax(1), scores.argmax(1)) and bool(share.isfinite().all())
    with pytest.raises(InputError, match="temperature"):
        balanced_assignment(scores, temperature=0.0)


def test_a_cloud_is_moved_onto_another():
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(12, 3, dtype=torch.float64, generator=generator)
    near = transported(cloud, cloud, regularization=1e-3)
    torch.testing.assert_close(near, cloud, atol=1e-3, rtol=0)
    moved = transported(cloud, cloud + 1, regularization=1e-4, tolerance=1e-9, max_iter=5000)
    torch.testing.assert_close(moved, cloud + 1, atol=0.01, rtol=0)
    # as the entropy outweighs the costs every point goes to the middle
    middle = transported(cloud, cloud + 10, regularization=1e4)
    torch.testing.assert_close(middle, (cloud + 10).mean(0).expand_as(middle), atol=1e-3, rtol=0)


def test_equal_points_have_no_cost():
    same = torch.ones(3, 2)
    assert torch.equal(transported(same, same), same)


def test_what_cannot_be_moved_is_refused():
    points = torch.randn(3, 2)
    with pytest.raises(InputError, match="regularization must be above 0"):
        transported(points, points, regularization=0.0)
    with pytest.raises(InputError, match="points of the target contain NaN"):
        transported(points, points * float("nan"))
