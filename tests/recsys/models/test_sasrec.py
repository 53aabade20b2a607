"""SASRec and GRU4Rec: losses against their definitions, and a rule that must be learned."""

import pytest
import torch
import torch.nn.functional as F

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.models.gru4rec import GRU4Rec
from recsys.models.sasrec import SASRec
from recsys.models.sequence import NextItemRecommender

ITEMS, USERS, LENGTH = 23, 92, 7
MODELS = [SASRec, GRU4Rec]
LOSSES = ["softmax", "bce", "bpr"]


def world() -> Interactions:
    """After item i comes item 5 i + 2, always, on a cycle of 22; users differ in first item and in length."""
    start = torch.arange(USERS) % ITEMS
    rows = [start]
    for _ in range(LENGTH - 1):
        rows.append((5 * rows[-1] + 2) % ITEMS)
    item, user = torch.stack(rows, 1), torch.arange(USERS)[:, None].expand(-1, LENGTH)
    keep = torch.arange(LENGTH) < 3 + torch.arange(USERS)[:, None] % (LENGTH - 2)
    return Interactions(user=user[keep], item=item[keep], num_users=USERS, num_items=ITEMS)


def trained(model: NextItemRecommender, steps: int) -> NextItemRecommender:
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    generator, sampler = torch.Generator().manual_seed(0), model.sampler()
    while steps > 0:
        for batch in sampler.batches(64, generator):
            optimizer.zero_grad()
            model(batch, "all")["next_item"].backward()
            optimizer.step()
            steps -= 1
    return model.eval()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("samples", ["prefix", "user"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_rule_is_learned(kind: type[NextItemRecommender], samples: str, loss: str) -> None:
    torch.manual_seed(0)
    config = kind.Config(
        embedding_size=16, inner_size=32, hidden_size=16, hidden_dropout=0.1, attention_dropout=0.1,
        max_length=4, n_layers=1, initializer_range=0.1, samples=samples, loss=loss, n_negatives=4,
    )  # fmt: skip
    index = trained(kind(world(), config), 150).index()
    walker = torch.tensor([item for item in range(ITEMS) if item != (5 * item + 2) % ITEMS])
    history = Ragged(walker, torch.arange(len(walker) + 1))
    scores = index.score(torch.full_like(walker, -1), history).scatter(1, walker[:, None], -torch.inf)
    # Sampled losses never see a user's own items as negatives: the walk's next few items stay hard to tell apart.
    best = scores.topk(1 if loss == "softmax" else 5).indices
    assert (best == (5 * walker[:, None] + 2) % ITEMS).any(1).double().mean() > 0.9


@pytest.mark.parametrize("kind", MODELS)
def test_losses_are_what_they_say(kind: type[NextItemRecommender]) -> None:
    for loss in LOSSES:
        torch.manual_seed(0)
        config = kind.Config(embedding_size=8, inner_size=8, hidden_size=8, loss=loss, n_negatives=2)
        model = kind(world(), config).double().eval()
        batch = next(model.sampler().batches(16, torch.Generator().manual_seed(0)))
        scores = model.index().score(batch.user, batch.history)
        if loss == "softmax":
            expected = F.cross_entropy(scores, batch.target)
        else:
            right, wrong = scores.gather(1, batch.target[:, None]), scores.gather(1, batch.negative)
            difference = F.softplus(wrong - right).mean()
            expected = difference if loss == "bpr" else F.softplus(-right).mean() + F.softplus(wrong).mean()
        torch.testing.assert_close(model(batch, "all")["next_item"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", MODELS)
def test_index_is_frozen_and_reads_the_latest_items_only(kind: type[NextItemRecommender]) -> None:
    model = kind(world(), kind.Config(embedding_size=8, inner_size=8, hidden_size=8, max_length=3)).train()
    index, nobody = model.index(), torch.tensor([-1, -1])
    scores = index.score(nobody, Ragged.of([[1, 2, 3, 4], [9, 2, 3, 4]]))
    assert torch.equal(scores[0], scores[1])
    assert scores.shape == (2, ITEMS) and not scores.requires_grad
    torch.nn.init.zeros_(next(iter(model.encoder.parameters())))
    torch.nn.init.zeros_(model.items.weight)
    assert torch.equal(index.score(nobody, Ragged.of([[1, 2, 3, 4], [9, 2, 3, 4]])), scores)


@pytest.mark.parametrize("kind", MODELS)
def test_an_empty_history_has_finite_scores_and_changes_no_other(kind: type[NextItemRecommender]) -> None:
    index = kind(world(), kind.Config(embedding_size=8, inner_size=8, hidden_size=8)).index()
    three = index.score(torch.full((3,), -1), Ragged.of([[], [1, 2], []]))
    one = index.score(torch.tensor([-1]), Ragged.of([[1, 2]]))
    assert torch.isfinite(three).all()
    torch.testing.assert_close(three[1:2], one)


@pytest.mark.parametrize("item", [-1, ITEMS, ITEMS + 1])
def test_an_unknown_item_in_a_query_is_refused(item: int) -> None:
    index = SASRec(world(), SASRec.Config(embedding_size=8)).index()
    with pytest.raises(InputError, match=r"items must lie in 0\.\.22"):
        index.score(torch.tensor([-1]), Ragged.of([[1, item]]))
