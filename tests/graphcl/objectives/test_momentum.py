"""The queue is first in, first out; the encoder follows."""

from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphcl.errors import InputError
from graphcl.objectives import MomentumEncoder, MomentumInfoNCE, NegativeQueue


@given(capacity=st.integers(1, 9), batches=st.lists(st.integers(0, 14), max_size=6))
def test_the_queue_keeps_the_last_rows_of_batches_of_any_size(capacity, batches):
    queue, oracle, count = NegativeQueue(capacity, 2), deque(maxlen=capacity), 0
    for size in batches:
        ids = torch.arange(count, count + size)
        queue.push(torch.stack([ids, -ids], 1).float(), ids)
        oracle.extend(ids.tolist())
        count += size
        assert sorted(queue.ids.tolist()) == sorted(oracle)
        assert torch.equal(queue.rows, torch.stack([queue.ids, -queue.ids], 1).float())


def test_the_queue_may_be_pushed_between_loss_and_backward():
    queue = NegativeQueue(4, 3)
    key, query = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    loss = MomentumInfoNCE()(query, key, negatives=queue.rows)
    assert loss == 0  # an empty queue has no negatives
    queue.push(key)
    assert queue.ids.tolist() == [-1] * 4
    loss = MomentumInfoNCE()(query, key, negatives=queue.rows)
    queue.push(torch.randn(2, 3))
    loss.backward()
    assert loss > 0
    assert torch.isfinite(query.grad).all()
    assert set(queue.state_dict()) == {"storage", "storage_ids", "pushed"}
    with pytest.raises(InputError, match="at least one row"):
        NegativeQueue(0, 3)


def test_the_encoder_follows_with_buffers_and_without_gradient():
    encoder = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    frozen, equal, half = (MomentumEncoder(encoder, momentum) for momentum in (1.0, 0.0, 0.5))
    before = encoder[0].weight.detach().clone()
    encoder(torch.randn(8, 3))
    with torch.no_grad():
        encoder[0].weight.add_(1.0)
    for follower in (frozen, equal, half):
        follower.update()
        assert torch.equal(follower.copy[1].running_mean, encoder[1].running_mean)
        assert not any(parameter.requires_grad for parameter in follower.parameters())
        assert not follower(torch.randn(4, 3)).requires_grad
        assert len(list(follower.parameters())) == 4  # the followed encoder is not among them
    torch.testing.assert_close(frozen.copy[0].weight, before)
    torch.testing.assert_close(equal.copy[0].weight, encoder[0].weight)
    torch.testing.assert_close(half.copy[0].weight, before + 0.5)
    with pytest.raises(InputError, match="share"):
        MomentumEncoder(encoder, 1.5)
