"""Golden vectors of MCLRec: encoder, augmenters, losses, gradients, updates of all modes, augmentation operators."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.conformance import Archive, Case, Check
from graphcl.objectives import NTXent, cosine, dot, margin_regulariser
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.migrate import rename, translate
from recsys.models.mclrec import AttentionAugmenter, MCLRec
from recsys.sequences.augment import Crop, Edit, Mask, Reorder
from recsys.sequences.views import Viewed

ADAM_TOLERANCE = {torch.float64: 1e-9, torch.float32: 5e-3}
KEY_BIAS_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-2}
"""Key biases have a gradient of zero but for rounding, which Adam blows up: to 3e-10, in float32 to its steps."""
LINEAR = {"dense_1": "0", "dense_2": "2", "dense_3": "4"}
"""The authors' layers of an augmenter -> ours."""
ATTENTION = {"dense_1": "query", "dense_2": "key", "dense_3": "value"}
UPDATES = {
    "sgd_meta": {},
    "adam_meta": {},
    "adam_meta_norl": {"regularise": False},
    "adam_meta_3batches": {},
    "sgd_joint": {"joint": True},
    "adam_joint": {"joint": True},
}
"""What is trained, and the keys that differ."""


def recognises(names: Collection[str]) -> bool:
    """Operator cases beside an encoder and two augmenters."""
    return "augop/op" in names and "param/aug1/dense_1.weight" in names


def cases(archive: Archive) -> Iterator[Case]:
    """The model's parts, then its updates, then the operators."""
    for name, run in CHECKS.items():
        yield Case(name, partial(run, archive))
    for name in UPDATES:
        for shared in (True, False):
            yield Case(f"update/{name}{'' if shared else ', own passes'}", partial(check_update, archive, name, shared))
    yield Case("operators", partial(check_operators, archive), exact=True)


def ragged(padded: Tensor, length: Tensor, n_items: int) -> Ragged:
    """[B, L] rows padded with 0 on the right, items from 1, masked items 0 -> without padding, items from 0."""
    real = torch.arange(padded.shape[1]) < length[:, None]
    values = torch.where(padded == 0, n_items, padded - 1)[real]
    return Ragged(values, torch.cat([length.new_zeros(1), length.cumsum(0)]))


@dataclass(frozen=True)
class Golden:
    """The file, in one precision."""

    archive: Archive
    dtype: torch.dtype

    def __getitem__(self, name: str) -> Tensor:
        return self.archive.tensor(name, self.dtype)

    def check(self, name: str, actual: Tensor) -> Check:
        """Compare with the array `name`."""
        return Check(name, self.archive[name], actual)

    @property
    def num_items(self) -> int:
        """Items without padding."""
        return int(self["hp/n_items"]) - 1

    def model(self, **changes: Any) -> MCLRec:
        """MCLRec with the file's sizes and weights, without dropout."""
        nothing = torch.empty(0, dtype=torch.long)
        data = Interactions(user=nothing, item=nothing, num_users=1, num_items=self.num_items)
        official = translate("mclrec", dict(self.group("param/encoder/")), data)
        keys: dict[str, Any] = {
            **official.config,
            "n_heads": int(self["hp/heads"]),
            "cl_weight": float(self["hp/lmd"]),
            "meta_weight": float(self["hp/beta"]),
            "temperature": float(self["hp/tau"]),
            "similarity": {"cos": "cosine", "dot": "dot"}[str(self.archive["hp/sim"])],
            "augmenter_sizes": tuple(self["hp/augmenter_sizes"].tolist()[1:-1]),
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            **changes,
        }
        model = MCLRec(data, MCLRec.Config(**keys)).to(self.dtype)
        official.adopt(model)
        for number, augmenter in enumerate(model.augmenters, 1):
            adopt_augmenter(augmenter, dict(self.group(f"param/aug{number}/")), LINEAR)
        return model

    def group(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        """Arrays by what follows `prefix`."""
        for name in self.archive:
            if name.startswith(prefix):
                yield name.removeprefix(prefix), self[name]

    def batch(self) -> Viewed:
        """The file's batch."""
        parts = (("item_seq", "item_len"), ("aug_seq1", "aug_len1"), ("aug_seq2", "aug_len2"))
        history, first, second = (ragged(self[f"batch/{s}"], self[f"batch/{n}"], self.num_items) for s, n in parts)
        target = self["batch/pos_item"] - 1
        return Viewed(torch.zeros_like(target), history, target, target.new_empty(len(target), 0), first, second)

    def tables(self, model: MCLRec, name: str) -> Tensor:
        """A parameter by the authors' name, `encoder/...` or `aug1/...`."""
        part, _, theirs = name.partition("/")
        if part == "encoder":
            return model.get_parameter(rename("mclrec", theirs, "golden"))
        layer, _, kind = theirs.partition(".")
        return model.get_parameter(f"augmenters.{int(part[-1]) - 1}.{LINEAR[layer]}.{kind}")


def adopt_augmenter(augmenter: nn.Module, state: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Load an augmenter saved under the authors' names."""
    parts = (name.split(".") for name in state)
    augmenter.load_state_dict({f"{names[layer]}.{kind}": state[f"{layer}.{kind}"] for layer, kind in parts})


def official_order(name: str, table: Tensor) -> Tensor:
    """A table of items in our order of rows -> in the authors', padding first; others as they are."""
    return torch.cat([table[-2:-1], table[:-2], table[-1:]]) if "item_embedding" in name else table


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The loss of a phase."""
    return torch.stack(list(terms.values())).sum()


def check_forward(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """States of the histories and both views, augmented states, scores."""
    golden = Golden(archive, dtype)
    model, batch = golden.model(), golden.batch()
    states = model.read(batch)
    for name, state in zip(("seq_output", "h1", "h2"), states, strict=True):
        yield golden.check(f"fwd/{name}", state)
    for number, augmenter in enumerate(model.augmenters, 1):
        yield golden.check(f"fwd/z{number}", augmenter(states[number]))
    scores = model.index().score(batch.user, batch.history)
    yield Check("fwd/full_sort_scores", archive["fwd/full_sort_scores"][:, 1:], scores)


def check_attention_augmenter(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """The augmenter that attends to the batch."""
    golden = Golden(archive, dtype)
    augmenter = AttentionAugmenter(int(golden["hp/hidden"])).to(dtype)
    adopt_augmenter(augmenter, dict(golden.group("att_augmenter/param/")), ATTENTION)
    yield golden.check("att_augmenter/out", augmenter(golden["fwd/h1"]))


def check_losses(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Every term by itself."""
    golden = Golden(archive, dtype)
    rows = {name: golden[f"fwd/{name}"] for name in ("h1", "h2", "z1", "z2")}
    for name in archive:
        if name.startswith("loss/nce_"):
            similarity, tau = name.removeprefix("loss/nce_").split("_tau")
            contrast = NTXent(float(tau), similarity={"dot": dot, "cos": cosine}[similarity])
            yield golden.check(name, contrast(rows["h1"], rows["h2"]))
    margins = []
    for pair in ("h1_z2", "h2_z1", "z1_z2"):
        a, b = (rows[name] for name in pair.split("_"))
        yield golden.check(f"loss/meta_ce_{pair}", NTXent(1.0, similarity=dot)(a, b))
        margins.append(margin_regulariser(a, b, temperature=float(golden["hp/tau"])))
        yield golden.check(f"loss/reg_{pair}", margins[-1])
    yield golden.check("loss/meta_rl_total", 0.1 * torch.stack(margins).sum())


def check_totals(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """The loss of each phase; the file's second one holds the contrast as well, a constant in that update."""
    golden = Golden(archive, dtype)
    for regularise in (True, False):
        tag = f"rl{int(regularise)}"
        model, batch = golden.model(regularise=regularise), golden.batch()
        encoder, meta = model(batch, "encoder"), total(model(batch, "augmenters"))
        yield golden.check("loss/rec", encoder["next_item"])
        for step in ("step1", "step3", "joint"):
            yield golden.check(f"loss/total_{step}_{tag}", total(encoder))
        yield golden.check(f"loss/meta_contrast_{tag}", meta)
        yield golden.check(f"loss/total_step2_{tag}", meta + encoder.get("contrast", 0.0))


def check_gradients(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """The gradient of each phase in what it updates."""
    golden = Golden(archive, dtype)
    for regularise in (True, False):
        for step, phase in (("step1", "encoder"), ("step2", "augmenters"), ("joint", "joint")):
            model = golden.model(regularise=regularise, joint=step == "joint")
            total(model(golden.batch(), phase)).backward()
            for name, _ in golden.group(f"grad/{step}_rl{int(regularise)}/"):
                if step == "step2" and name.startswith("encoder"):
                    continue  # the authors compute these and throw them away
                table = golden.tables(model, name)
                gradient = torch.zeros_like(table) if table.grad is None else table.grad  # a term may weigh nothing
                yield golden.check(f"grad/{step}_rl{int(regularise)}/{name}", official_order(name, gradient))


def check_update(archive: Archive, name: str, shared: bool, dtype: torch.dtype) -> Iterator[Check]:
    """Parameters after one batch (or the same batch three times), and after each update where the file has them."""
    golden = Golden(archive, dtype)
    model, batch = golden.model(**UPDATES[name], shared_pass=shared), golden.batch()
    kind, rate = (torch.optim.SGD, "hp/lr_sgd") if name.startswith("sgd") else (torch.optim.Adam, "hp/lr_adam")
    optimizers = {phase: kind(model.learns(phase), float(golden[rate])) for phase in dict.fromkeys(model.phases)}
    for _ in range(3 if name.endswith("3batches") else 1):
        for step, phase in enumerate(model.phases, 1):
            terms = model(batch, phase)
            model.zero_grad()
            total(terms).backward()
            optimizers[phase].step()
            yield from parameters(golden, model, f"update/{name}/after_step{step}/")
    yield from parameters(golden, model, f"update/{name}/after/")


def parameters(golden: Golden, model: MCLRec, prefix: str) -> Iterator[Check]:
    """All parameters under `prefix`."""
    for name, _ in golden.group(prefix):
        bars = KEY_BIAS_TOLERANCE if name.endswith("key.bias") else ADAM_TOLERANCE
        tolerance = {"tolerance": bars} if "/adam" in prefix else {}
        actual = official_order(name, golden.tables(model, name).detach())
        yield Check(f"{prefix}{name}", golden.archive[f"{prefix}{name}"], actual, **tolerance)


def check_operators(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Crop, mask and reorder with the drawings of the file, and how many items each draws by itself."""
    golden = Golden(archive, dtype)
    ratios = golden["augop/ratios_crop_mask_reorder"].tolist()
    edits: tuple[Edit, ...] = (Crop(ratios[0]), Mask(0, ratios[1]), Reorder(ratios[2]))
    for row in range(len(archive["augop/op"])):
        op, length, begin, num = (int(archive[f"augop/{name}"][row]) for name in ("op", "len", "begin", "num"))
        history = Ragged(golden["augop/seq"][row, :length], torch.tensor([0, length]))
        if op < len(edits):
            drawing = drawing_of(op, length, begin, num, golden["augop/index"][row, :num])
            own = edits[op].draw(history, torch.Generator().manual_seed(row))
            yield Check(f"augop/num {row}", np.array(num), np.array(touched(op, own, num)))
            history = edits[op].apply(history, drawing)
        padded = torch.zeros(archive["augop/out_seq"].shape[1], dtype=torch.long)
        padded[: len(history.values)] = history.values
        yield Check(f"augop/out_seq {row}", archive["augop/out_seq"][row], padded)
        yield Check(f"augop/out_len {row}", archive["augop/out_len"][row], np.array(len(history.values)))


def drawing_of(op: int, length: int, begin: int, num: int, index: Tensor) -> Tensor:
    """What the authors drew, as our edits record it."""
    if op == 0:
        return torch.tensor([[begin, num]])
    if op == 1:
        return torch.zeros(length, dtype=torch.bool).index_fill(0, index, True)
    return torch.arange(length).index_copy(0, torch.arange(begin, begin + num), begin + index)


def touched(op: int, drawing: Tensor, num: int) -> int:
    """How many items our own drawing touches; a shuffle may leave items in place, so only its bounds count."""
    if op == 2:
        moved = (drawing != torch.arange(len(drawing))).nonzero().flatten()
        return num if not len(moved) or int(moved[-1] - moved[0]) < num else -1
    return int(drawing[0, 1]) if op == 0 else int(drawing.sum())


CHECKS: dict[str, Callable[[Archive, torch.dtype], Iterable[Check]]] = {
    "forward": check_forward,
    "attention augmenter": check_attention_augmenter,
    "losses": check_losses,
    "totals": check_totals,
    "gradients": check_gradients,
}
