"""CL4SRec, DuoRec, ICLRec and MCLRec: what each contrasts, and what learns from it."""

import pytest
import torch
from worlds import cycle

from graphcl.objectives import NTXent, dot
from recsys.data.ragged import Ragged
from recsys.models.cl4srec import CL4SRec
from recsys.models.duorec import DuoRec
from recsys.models.iclrec import ICLRec
from recsys.models.mclrec import MCLRec

SMALL = {"embedding_size": 8, "inner_size": 8, "max_length": 6}


def made(kind, **keys):
    torch.manual_seed(0)
    model = kind(cycle().train, kind.Config(**(SMALL | keys))).double().eval()
    sampler = model.sampler()
    with torch.no_grad():
        model.begin_epoch(sampler)
    return model, next(sampler.batches(16, torch.Generator().manual_seed(0)))


def test_cl4srec_contrasts_its_views_and_masks_are_seen() -> None:
    model, batch = made(CL4SRec, cl_weight=0.3)
    expected = 0.3 * NTXent(1.0, similarity=dot)(model.encode(batch.first), model.encode(batch.second))
    torch.testing.assert_close(model(batch, "all")["contrast"], expected, rtol=0, atol=1e-12)
    seen = torch.cat([batch.first.values, batch.second.values])
    assert (seen == model.mask_id).any() and (seen <= model.mask_id).all()
    one, other = (model.encode(Ragged.of([[1, token, 3]])) for token in (model.mask_id, model.padding_id))
    assert not torch.allclose(one, other)


def test_duorec_contrasts_what_its_views_name() -> None:
    contrast = NTXent(1.0, similarity=dot)
    for views in ("crossed", "dropout", "target"):
        model, batch = made(DuoRec, views=views, cl_weight=1.0)
        state, partner = model.encode(batch.history), model.encode(batch.partner)
        expected = contrast(state, state if views == "dropout" else partner)  # dropout rests in evaluation mode
        torch.testing.assert_close(model(batch, "all")["contrast"], expected, rtol=0, atol=1e-12)
        assert torch.equal(made(DuoRec, views=views)[1].target, batch.target)


def test_duorec_draws_other_dropout_for_each_view() -> None:
    model, batch = made(DuoRec, views="dropout")
    model.train()
    losses = {float(model(batch, "all")["contrast"].detach()) for _ in range(3)}
    same = made(DuoRec, views="dropout")[0](batch, "all")["contrast"].detach()
    assert len(losses) == 3 and all(loss != float(same) for loss in losses)


def test_duorec_false_negatives_can_be_masked() -> None:
    model, batch = made(DuoRec, views="target", mask_false_negatives=True, cl_weight=1.0)
    plain, _ = made(DuoRec, views="target", cl_weight=1.0)
    assert batch.target.unique().numel() < batch.target.numel()
    assert model(batch, "all")["contrast"] < plain(batch, "all")["contrast"]


def test_iclrec_means_and_intents() -> None:
    model, batch = made(ICLRec, n_intents=4, intent_weight=1.0, cl_weight=1.0)
    rows = batch.first.values.split(batch.first.lengths.tolist())
    single = [model.encode_every(Ragged(row, torch.tensor([0, len(row)]))).mean(0) for row in rows]
    first, second = model.mean_state(batch.first), model.mean_state(batch.second)
    torch.testing.assert_close(first, torch.stack(single), rtol=0, atol=1e-12)
    terms = model(batch, "all")
    torch.testing.assert_close(terms["contrast"], NTXent(1.0, similarity=dot)(first, second), rtol=0, atol=1e-12)


@pytest.mark.parametrize("intent_of", ["history", "view"])
@pytest.mark.parametrize("masked", [True, False])
def test_iclrec_draws_views_to_the_cluster_of_their_history_or_to_their_own(intent_of: str, masked: bool) -> None:
    keys = {"intent_of": intent_of, "mask_false_negatives": masked}
    model, batch = made(ICLRec, n_intents=4, intent_weight=1.0, **keys)
    whole, views = model.mean_state(batch.history), (model.mean_state(batch.first), model.mean_state(batch.second))
    expected = []
    for view in views:
        nearest = torch.cdist(whole if intent_of == "history" else view, model.intents.centroids).argmin(1)
        unit = torch.nn.functional.normalize(model.intents.centroids[nearest], dim=1)
        expected.append(NTXent(1.0, similarity=dot)(view, unit, group=nearest if masked else None))
    torch.testing.assert_close(model(batch, "all")["intent"], sum(expected) / 2, rtol=0, atol=1e-12)


def test_iclrec_has_a_target_at_every_item() -> None:
    model, batch = made(ICLRec, n_intents=4, loss="softmax")
    assert batch.target.numel() == batch.history.values.numel() > batch.user.numel()
    scores = model.encode_every(batch.history) @ model.items.weight[: model.num_items].T
    expected = torch.nn.functional.cross_entropy(scores, batch.target)
    torch.testing.assert_close(model(batch, "all")["next_item"], expected, rtol=0, atol=1e-12)


def test_mclrec_teaches_padding_nothing_where_a_view_ends_on_a_mask() -> None:
    model, batch = made(MCLRec, cl_weight=1.0, meta_weight=1.0)
    masked = batch._replace(first=Ragged.of([[1, model.padding_id]] * len(batch.target)))
    terms = model(masked, "encoder")
    (plain,) = torch.autograd.grad(terms["contrast"] + terms["meta"], model.items.weight, retain_graph=True)
    assert not plain[model.padding_id].any()
    assert plain[: model.num_items].any()
    (softmax,) = torch.autograd.grad(terms["next_item"], model.items.weight)
    assert softmax[model.padding_id].any()  # a class that is never right
