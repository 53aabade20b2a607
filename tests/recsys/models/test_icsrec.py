"""ICSRec beyond its golden vectors: clusters, samples, and mistakes."""

import pytest
import torch
from worlds import cycle

from graphcl.errors import InputError
from recsys.models.icsrec import ICSRec
from recsys.models.mclrec import MCLRec
from recsys.sequences.intents import Partners

SMALL = {"embedding_size": 8, "inner_size": 8, "hidden_size": 8, "n_intents": 4, "max_length": 6}


def prepared(**keys) -> tuple[ICSRec, Partners]:
    torch.manual_seed(0)
    model = ICSRec(cycle().train, ICSRec.Config(**(SMALL | keys))).double().eval()
    sampler = model.sampler()
    with torch.no_grad():
        model.begin_epoch(sampler)
    return model, next(sampler.batches(32, torch.Generator().manual_seed(0)))


def test_centroids_are_those_of_all_subsequences() -> None:
    model, _ = prepared()
    states = torch.cat([model.encode(history) for history in model.sampler().inputs_by_length()])
    nearest = torch.cdist(states, model.intents.centroids).argmin(1)
    for number, centroid in enumerate(model.intents.centroids):
        torch.testing.assert_close(states[nearest == number].mean(0), centroid, rtol=0, atol=1e-2)


def test_separate_passes_agree_without_dropout() -> None:
    (one, batch), (two, _) = prepared(separate_passes=False), prepared(separate_passes=True)
    for name, value in one(batch, "all").items():
        torch.testing.assert_close(two(batch, "all")[name], value, rtol=0, atol=1e-12)


def test_a_weight_of_zero_drops_its_term() -> None:
    model, batch = prepared(fine_weight=0.0, coarse_weight=0.0)
    assert list(model(batch, "all")) == ["next_item"]
    assert not model.intents.found


def test_more_clusters_than_subsequences_are_refused() -> None:
    with pytest.raises(InputError, match="n_intents: 5000 clusters"):
        ICSRec(cycle().train, ICSRec.Config(**(SMALL | {"n_intents": 5000}))).sampler()


def meta_model(**keys) -> MCLRec:
    torch.manual_seed(0)
    return MCLRec(cycle().train, MCLRec.Config(embedding_size=8, inner_size=8, augmenter_sizes=(6,), **keys))


def test_phases_update_disjoint_parameters_that_cover_all() -> None:
    model = meta_model()
    encoder, augmenters = ({id(p) for p in model.learns(phase)} for phase in ("encoder", "augmenters"))
    assert not encoder & augmenters and encoder | augmenters == {id(p) for p in model.parameters()}
    assert meta_model(joint=True).phases == ("joint",)


def test_a_shared_augmenter_is_one() -> None:
    model = meta_model(shared_augmenter=True)
    assert model.augmenters[0] is model.augmenters[1]
    assert len(list(model.learns("augmenters"))) == 4


def test_the_augmenters_update_leaves_no_gradient_in_the_encoder() -> None:
    for shared in (True, False):
        model = meta_model(shared_pass=shared).train()
        batch = next(model.sampler().batches(16, torch.Generator().manual_seed(0)))
        torch.stack(list(model(batch, "augmenters").values())).sum().backward()
        assert all(p.grad is None for p in model.encoder_parameters())
        assert all(p.grad is not None for p in model.augmenters.parameters())


def test_a_shared_pass_serves_one_update_and_only_its_batch() -> None:
    model = meta_model().train()
    batches = model.sampler().batches(16, torch.Generator().manual_seed(0))
    first, second = next(batches), next(batches)
    model(first, "augmenters")
    assert model.kept_pass is not None
    torch.stack(list(model(second, "encoder").values())).sum().backward()
    assert model.kept_pass is None


def test_a_batch_of_one_row_has_finite_losses() -> None:
    model = meta_model(cl_weight=0.1).train()
    batch = next(model.sampler().batches(1, torch.Generator().manual_seed(0)))
    for phase in model.phases:
        losses = torch.stack(list(model(batch, phase).values()))
        losses.sum().backward()
        assert torch.isfinite(losses).all()
