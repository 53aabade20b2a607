"""The contestants of the speed tables compute what they claim to time."""

import pytest
import torch

from benchmarks.speed_dccf import Literal
from benchmarks.speed_dccf_gpu import WithPyG
from recsys.data.interactions import Interactions
from recsys.data.samplers import PairSampler
from recsys.models.dccf import DCCF


@pytest.mark.parametrize("kind", [Literal, WithPyG])
def test_the_literal_steps_of_dccf_have_its_losses_and_gradients(kind: type[Literal]) -> None:
    generator = torch.Generator().manual_seed(0)
    user = torch.arange(30).repeat_interleave(4)
    item = torch.rand(30, 25, generator=generator).argsort(1)[:, :4].flatten()
    train = Interactions(user=user, item=item, num_users=32, num_items=25)  # two users have no interaction
    model = DCCF(train, DCCF.Config(n_intents=5, embedding_size=8, init_std=0.3))
    batch = next(PairSampler(train, users="uniform").batches(64, generator))
    parameters = list(model.parameters())
    found = []
    for terms in (model(batch, "all"), kind(model, train)(batch)):
        gradients = torch.autograd.grad(torch.stack(list(terms.values())).sum(), parameters)
        found.append(([float(term.detach()) for term in terms.values()], gradients))
    (ours, by_ours), (theirs, by_theirs) = found
    assert ours == pytest.approx(theirs, rel=1e-4)
    for mine, other in zip(by_ours, by_theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6)
