"""Golden vectors of ICSRec: segmentation, pairs, both encoders, every loss term, gradients, a training, rankings."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.conformance import Archive, Array, Case, Check
from graphcl.cluster import assign
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.migrate import rename, translate
from recsys.models.icsrec import ICSRec
from recsys.sequences.intents import Partners, PartnerSampler
from recsys.sequences.sampler import Prefixes

METRICS = [f"{name}@{k}" for k in (5, 10, 20) for name in ("hit", "ndcg")]
LEARNING_RATE = 1e-3
ALL_ALIKE = {"rec_weight": 1.0, "coarse_weight": 1.0, "fine_weight": 1.0}
"""Terms as the file has them alone; with the file's own weights one of them may be 0, and not computed."""


def recognises(names: Collection[str]) -> bool:
    """Segmentations beside both encoders."""
    return "ds_off" in names and "sas/centroids_raw" in names


def cases(archive: Archive) -> Iterator[Case]:
    """Data once, then each encoder."""
    yield Case("segments", partial(check_segments, archive), exact=True)
    yield Case("pairs", partial(check_pairs, archive), exact=True)
    for encoder in ("sas", "gru"):
        for name, run in CHECKS.items():
            yield Case(f"{encoder}/{name}", partial(run, archive, encoder))


def histories_of(archive: Archive, flat: str, offsets: str) -> Ragged:
    """Ragged rows of items from 1 -> of items from 0."""
    return Ragged(archive.tensor(flat, torch.float64) - 1, archive.tensor(offsets, torch.float64))


def rows_of(padded: Tensor) -> Ragged:
    """[B, L] rows padded with 0 on the left, items from 1 -> without padding, items from 0."""
    real = padded > 0
    return Ragged(padded[real] - 1, F.pad(real.sum(1).cumsum(0), (1, 0)))


def segments(histories: Ragged, max_length: int) -> tuple[Tensor, Ragged]:
    """The authors' lists: what a sample reads, its target, and the two held-out items or what stands in their place."""
    whole = Prefixes.of(histories, max_length)
    inside = whole.stop + 3 <= histories.offsets[1:][whole.user]
    user, start, stop = (part[inside] for part in whole)
    return user, histories.slice(start, stop + 3)


def check_segments(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """The closed form gives the lists of the sliding segmentation."""
    numbers = archive.json("cfg")
    files = [("user_seq_flat", "user_seq_off", "ds_user", "ds_flat", "ds_off", int(numbers["max_len"]))]
    for case in ("dscase0", "dscase1"):
        parts = (f"{case}/{part}" for part in ("in_flat", "in_off", "out_user", "out_flat", "out_off"))
        files.append((*parts, int(archive[f"{case}/max_len"])))  # type: ignore[arg-type]
    for flat, offsets, users, values, ends, max_length in files:
        user, lists = segments(histories_of(archive, flat, offsets), max_length)
        yield Check(users, archive[users], user + 1)
        yield Check(values, archive[values], lists.values + 1)
        yield Check(ends, archive[ends], lists.offsets)


def check_pairs(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Every training sample and its partner, in the order of the file."""
    sampler = golden_sampler(archive)
    rows = torch.arange(sampler.num_samples)
    partner = sampler.partner(rows, torch.Generator())
    length = int(archive.json("cfg")["max_len"])
    for name, samples in (("all_s1", rows), ("all_s2", partner)):
        read = sampler.samples.inputs(samples)
        table = Ragged(read.values + 1, read.offsets).padded(0, left=True)
        yield Check(name, archive[name], F.pad(table, (length - table.shape[1], 0)))
    stop = sampler.samples.prefixes.stop
    yield Check("all_target", archive["all_target"], sampler.samples.histories.values[stop] + 1)


def golden_sampler(archive: Archive) -> PartnerSampler:
    """The authors' samples: all but the last two items of each user."""
    numbers = archive.json("cfg")
    histories = world(archive).histories
    return PartnerSampler(histories, int(numbers["n_items"]), int(numbers["max_len"]), pairing="last")


def world(archive: Archive, held_out: int = 2) -> Interactions:
    """Every user's events but the last `held_out`."""
    histories = histories_of(archive, "user_seq_flat", "user_seq_off")
    cut = histories.slice(histories.offsets[:-1], histories.offsets[1:] - held_out)
    n_items = int(archive.json("cfg")["n_items"])
    return Interactions(user=cut.row, item=cut.values, num_users=cut.num_rows, num_items=n_items)


@dataclass(frozen=True)
class Golden:
    """One encoder of a file, in one precision."""

    archive: Archive
    encoder: str
    dtype: torch.dtype

    def __getitem__(self, name: str) -> Tensor:
        return self.archive.tensor(f"{self.encoder}/{name}", self.dtype)

    def check(self, name: str, actual: Tensor | Array) -> Check:
        """Compare with the array `name`."""
        return Check(name, self.archive[f"{self.encoder}/{name}"], actual)

    def model(self, **changes: Any) -> ICSRec:
        """ICSRec with the file's sizes, weights and centroids, without dropout."""
        numbers, train = self.archive.json("cfg"), world(self.archive)
        prefix = f"{self.encoder}/param/"
        state = {name.removeprefix(prefix): self[name.removeprefix(f"{self.encoder}/")]
                 for name in self.archive if name.startswith(prefix)}  # fmt: skip
        official = translate("icsrec", state, train)
        keys = {
            **official.config,
            "n_heads": numbers["heads"],
            "max_length": numbers["max_len"],
            "n_intents": numbers["n_clusters"],
            "rec_weight": numbers["rec_weight"],
            "coarse_weight": numbers["lambda_0"],
            "fine_weight": numbers["beta_0"],
            "temperature": numbers["temperature"],
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            "pairing": "last",
            **changes,
        }
        model = ICSRec(train, ICSRec.Config(**keys)).to(self.dtype)
        official.adopt(model)
        model.intents.centroids.copy_(self["centroids_raw"])
        return model

    def batch(self) -> Partners:
        """The file's batch."""
        target = self.archive.tensor("target", self.dtype) - 1
        first, second = (rows_of(self.archive.tensor(name, self.dtype)) for name in ("s1", "s2"))
        nobody = torch.zeros_like(target)
        return Partners(nobody, first, target, nobody.new_empty(len(nobody), 0), second)

    def official_order(self, rows: Tensor) -> Tensor:
        """A table in our order of rows -> in the authors', padding first."""
        return torch.cat([rows[-2:-1], rows[:-2], rows[-1:]])


def check_encoder(archive: Archive, encoder: str, dtype: torch.dtype) -> Iterator[Check]:
    """States, scores of all rows, clusters and prototypes."""
    golden = Golden(archive, encoder, dtype)
    model, batch = golden.model(), golden.batch()
    for number, history in ((1, batch.history), (2, batch.partner)):
        state = model.encode(history)
        name = f"h{number}_all"
        yield Check(name, archive[f"{encoder}/{name}"][:, -1], state)
        yield golden.check(f"intent_id_{number}", assign(state.detach(), model.intents.centroids)[0])
    first = model.encode(batch.history)
    yield golden.check("logits1", golden.official_order((first @ model.items.weight.T).T).T)
    yield golden.check("prototypes", F.normalize(model.intents.centroids, dim=1))


def check_losses(archive: Archive, encoder: str, dtype: torch.dtype) -> Iterator[Check]:
    """Every term under both similarities, with and without the mask of false negatives."""
    golden = Golden(archive, encoder, dtype)
    batch = golden.batch()
    for similarity, mask in ((s, m) for s in ("dot", "cosine") for m in (True, False)):
        tag = f"{similarity[:3]}_{'fneg' if mask else 'nofneg'}"
        model = golden.model(similarity=similarity, mask_false_negatives=mask)
        terms = golden.model(similarity=similarity, mask_false_negatives=mask, **ALL_ALIKE)(batch, "all")
        yield golden.check("rec_loss", terms["next_item"])
        yield golden.check(f"cicl_{tag}", terms["coarse"])
        yield golden.check(f"ficl_{tag}", terms["fine"])
        for number, history in ((1, batch.history), (2, batch.partner)):
            yield golden.check(f"ficl{number}_{tag}", model.intents(model.encode(history)))
        yield golden.check(f"joint_{tag}", total(model(batch, "all")))
        twice = golden.model(similarity=similarity, mask_false_negatives=mask, separate_passes=True)
        yield golden.check(f"joint_{tag}", total(twice(batch, "all")))


def check_gradients(archive: Archive, encoder: str, dtype: torch.dtype) -> Iterator[Check]:
    """The gradient of the joint loss in every parameter."""
    golden = Golden(archive, encoder, dtype)
    for mask in (True, False):
        model = golden.model(mask_false_negatives=mask)
        total(model(golden.batch(), "all")).backward()
        prefix = f"{encoder}/grad_dot_{'fneg' if mask else 'nofneg'}/"
        for name in (name for name in archive if name.startswith(prefix)):
            theirs = name.removeprefix(prefix)
            gradient = model.get_parameter(rename("icsrec", theirs, "golden")).grad
            assert gradient is not None, theirs
            ordered = golden.official_order(gradient) if theirs == "item_embeddings.weight" else gradient
            yield Check(f"grad {theirs}", archive[name], ordered)


def check_training(archive: Archive, encoder: str, dtype: torch.dtype) -> Iterator[Check]:
    """Six steps of Adam on one batch: the terms before each, and the cluster of each state."""
    golden = Golden(archive, encoder, dtype)
    model, alone, batch = golden.model(), golden.model(**ALL_ALIKE), golden.batch()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    curve, ids = [], []
    for _ in range(len(archive[f"{encoder}/adam_curve"])):
        loss = total(model(batch, "all"))
        alone.load_state_dict(model.state_dict())
        with torch.no_grad():
            terms = alone(batch, "all")
            curve.append(torch.stack([*(terms[name] for name in ("next_item", "coarse", "fine")), loss]))
            states = (model.encode(rows) for rows in (batch.history, batch.partner))
            ids.append(torch.stack([assign(state, model.intents.centroids)[0] for state in states]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    yield golden.check("adam_curve", torch.stack(curve))
    yield golden.check("adam_ids", torch.stack(ids))


def check_rankings(archive: Archive, encoder: str, dtype: torch.dtype) -> Iterator[Check]:
    """Scores, and metrics with seen items left out, of both held-out parts."""
    golden = Golden(archive, encoder, dtype)
    index = golden.model().index()
    part: Literal["valid", "test"]
    for part, held_out in (("valid", 2), ("test", 1)):
        seen = world(archive, held_out)
        answer = archive.tensor(f"{part}_answer", dtype).flatten() - 1
        user = torch.arange(len(answer))
        truth = Interactions(user=user, item=answer, num_users=seen.num_users, num_items=seen.num_items)
        scores = index.score(user, rows_of(archive.tensor(f"{part}_input", dtype)))
        yield Check(f"eval_{part}_scores", archive[f"{encoder}/eval_{part}_scores"][:, 1:-1], scores)
        found = measure(rank(index, seen, truth, 20, mask_history=True), METRICS)
        name = f"eval_{part}_metrics_neginf"
        yield Check(name, archive[f"{encoder}/{name}"], np.array([found[metric] for metric in METRICS]))


def total(terms: dict[str, Tensor]) -> Tensor:
    """The joint loss."""
    return torch.stack(list(terms.values())).sum()


CHECKS: dict[str, Callable[[Archive, str, torch.dtype], Iterable[Check]]] = {
    "encoder": check_encoder,
    "losses": check_losses,
    "gradients": check_gradients,
    "training": check_training,
    "rankings": check_rankings,
}
