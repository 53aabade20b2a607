"""Golden vectors of DCCF: every signal, mask and loss, gradients, Adam steps, and the authors' evaluation."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from benchmarks.conformance import Archive, Case, Check
from graphcl.objectives.kernel import row_lse
from graphcl.views.masks import adaptive_mask, cosine_mask
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.samplers import Triples
from recsys.evaluation.metrics import ndcg, per_user, recall
from recsys.evaluation.ranking import rank
from recsys.models.base import Index
from recsys.models.dccf import DCCF

LOSSES = {"bpr": "bpr", "emb_reg": "reg", "cen_reg": "intent_reg", "ssl": "contrast"}
"""The authors' name of each term, and ours."""
SIGNALS = {"intent": "intent", "gaa": "local", "iaa": "disentangled"}
"""Likewise for signals."""
PARAMETERS = ("user_embedding", "item_embedding", "user_intent", "item_intent")
NOTHING = torch.zeros(())
"""A term of weight 0, which is not computed."""


def recognises(names: Collection[str]) -> bool:
    """A file of DCCF holds its settings."""
    return "cfg_n_intents" in names


def cases(archive: Archive) -> Iterator[Case]:
    """Every case of the file."""
    yield Case("graph", partial(graph, archive))
    for layer in range(int(archive["cfg_n_layers"])):
        yield Case(f"layer {layer}", partial(signals, archive, layer))
    yield Case("final embeddings", partial(final, archive))
    yield Case("contrasts by layer, side and signal", partial(contrasts, archive))
    yield Case("losses and gradients", partial(losses, archive, ""))
    if "iso_batch_user" in archive:
        yield Case("losses and gradients, isolated users in the batch", partial(losses, archive, "iso_"))
    yield Case("three steps of Adam", partial(adam, archive))
    yield Case("evaluation", partial(evaluation, archive), exact=True)
    yield Case("metrics of given lists", partial(metrics, archive), exact=True)
    if "sslrec_loss_cl" in archive:
        yield Case("SSLRec's losses", partial(sslrec, archive))


@dataclass(frozen=True)
class Golden:
    """A file, in one precision."""

    archive: Archive
    dtype: torch.dtype

    def __getitem__(self, name: str) -> Tensor:
        return self.archive.tensor(name, self.dtype)

    def check(self, name: str, actual: Tensor) -> Check:
        """Compare with the array `name`."""
        return Check(name, self.archive[name], actual)

    @cached_property
    def train(self) -> Interactions:
        """The training pairs."""
        users, items = int(self.archive["cfg_n_users"]), int(self.archive["cfg_n_items"])
        return Interactions(user=self["edge_user"], item=self["edge_item"], num_users=users, num_items=items)

    @cached_property
    def model(self) -> DCCF:
        """DCCF with the file's parameters; its `reg_weight` is ours, which halves and divides by the batch size."""
        settings = {name: self.archive[f"cfg_{name}"].item() for name in ("n_intents", "n_layers", "temperature")}
        config = DCCF.Config(
            **settings,
            embedding_size=int(self.archive["cfg_emb_dim"]),
            reg_weight=2 * len(self.archive["batch_user"]) * float(self.archive["cfg_emb_reg"]),
            intent_reg_weight=float(self.archive["cfg_cen_reg"]),
            cl_weight=float(self.archive["cfg_ssl_reg"]),
        )
        model = DCCF(self.train, config).to(self.dtype)
        # The graph was normalised in float32 before the cast.
        model.adjacency.value = adjacency_in(model, self.dtype)
        with torch.no_grad():
            model.embedding.copy_(torch.cat([self["param_user_embedding"], self["param_item_embedding"]]))
            model.user_intent.copy_(self["param_user_intent"])
            model.item_intent.copy_(self["param_item_intent"])
        return model

    def batch(self, prefix: str) -> Triples:
        """A batch of the file."""
        user, positive, negative = (self[f"{prefix}batch_{name}"] for name in ("user", "pos_item", "neg_item"))
        return Triples(user, positive, negative.unsqueeze(1))

    def parameters(self, model: DCCF, table: Tensor, user: Tensor, item: Tensor) -> Iterable[tuple[str, Tensor]]:
        """The authors' four names with our three tensors."""
        return zip(PARAMETERS, (*model.halves(table), user, item), strict=True)


def adjacency_in(model: DCCF, dtype: torch.dtype) -> Tensor:
    """The values of the normalised adjacency, computed in `dtype`."""
    root = model.adjacency.crow.diff().to(dtype).rsqrt()
    return root[model.adjacency.row] * root[model.adjacency.col]


def graph(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """The edges and their weights."""
    golden = Golden(archive, dtype)
    adjacency = golden.model.adjacency
    yield golden.check("adj_head", adjacency.row)
    yield golden.check("adj_tail", adjacency.col)
    yield golden.check("adj_norm_value", adjacency.value)


def signals(archive: Archive, layer: int, dtype: torch.dtype) -> Iterator[Check]:
    """The four signals of a layer and its two masks."""
    golden = Golden(archive, dtype)
    model = golden.model
    local, others = model.layerwise()[1][layer]
    yield golden.check(f"layer{layer}_gnn", local)
    for theirs, ours in SIGNALS.items():
        yield golden.check(f"layer{layer}_{theirs}", others[ours])  # type: ignore[index]
    for name, source in (("gnn", local), ("intent", others["intent"])):
        yield golden.check(f"layer{layer}_mask_{name}_raw", cosine_mask(model.adjacency, source))
        yield golden.check(f"layer{layer}_mask_{name}_norm", adaptive_mask(model.adjacency, source))


def final(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """What is ranked with."""
    golden = Golden(archive, dtype)
    users, items = golden.model.halves(golden.model.embed())
    yield golden.check("out_user_embedding", users)
    yield golden.check("out_item_embedding", items)
    yield golden.check("scores", users @ items.T)


def contrasts(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Each contrast alone, without its weight."""
    golden = Golden(archive, dtype)
    found = golden.model.contrasts(golden.batch(""), golden.model.layerwise()[1])
    yield golden.check("ssl_terms", torch.stack(found).view(-1, 2, 3))


def losses(archive: Archive, prefix: str, dtype: torch.dtype) -> Iterator[Check]:
    """Every term and the gradient of every parameter."""
    golden = Golden(archive, dtype)
    model = golden.model
    terms = model(golden.batch(prefix), "all")
    for theirs, ours in LOSSES.items():
        yield golden.check(f"{prefix}loss_{theirs}", terms.get(ours, NOTHING))
    total = torch.stack(list(terms.values())).sum()
    yield golden.check(f"{prefix}loss_total", total)
    found = torch.autograd.grad(total, [model.embedding, model.user_intent, model.item_intent])
    for name, gradient in golden.parameters(model, *found):
        yield Check(f"grad_{name}", archive[f"{prefix}grad_{name}"], gradient)


def sslrec(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """The losses of SSLRec's DCCF, which has the same signals: other nodes, another reduction, all parameters decay."""
    golden = Golden(archive, dtype)
    model, batch = golden.model, golden.batch("")
    weights = {name: float(archive[f"sslrec_cfg_{name}"]) for name in ("reg_weight", "cl_weight", "temperature")}
    parameters = [model.embedding, model.user_intent, model.item_intent]
    inputs, layers = model.layerwise()
    users = batch.user.unique()
    items = torch.cat([batch.positive, batch.negative.flatten()]).unique() + model.num_users

    def unit(table: Tensor, rows: Tensor) -> Tensor:
        chosen = table.index_select(0, rows)
        return chosen / (1e-8 + chosen.square().sum(1, keepdim=True)).sqrt()

    def contrast(graph: Tensor, other: Tensor, rows: Tensor) -> Tensor:
        anchor, candidate = unit(graph, rows) / weights["temperature"], unit(other, rows)
        return (row_lse(anchor, candidate) - (anchor * candidate).sum(1)).sum() / len(users)

    found = [
        contrast(graph, other, rows) for graph, others in layers for other in others.values() for rows in (users, items)
    ]
    terms = {
        "bpr": model.ranking(batch, sum(inputs[1:], start=inputs[0]))["bpr"],
        "reg": weights["reg_weight"] * torch.stack([one.square().sum() for one in parameters]).sum(),
        "cl": weights["cl_weight"] * torch.stack(found).sum(),
    }
    total = torch.stack(list(terms.values())).sum()
    for name, value in {**terms, "total": total}.items():
        yield golden.check(f"sslrec_loss_{name}", value)
    for name, gradient in golden.parameters(model, *torch.autograd.grad(total, parameters)):
        yield Check(f"grad_{name}", archive[f"sslrec_grad_{name}"], gradient)


def adam(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Losses before, and parameters after, steps of Adam."""
    golden = Golden(archive, dtype)
    model = golden.model
    optimizer = torch.optim.Adam(model.parameters(), lr=float(archive["cfg_adam_lr"]))
    for step, (user, positive, negative) in enumerate(golden["adam_batches"]):
        terms = model(Triples(user, positive, negative.unsqueeze(1)), "all")
        named = torch.stack([terms.get(name, NOTHING).to(dtype) for name in LOSSES.values()])
        yield Check(f"adam_losses {step}", archive["adam_losses"][step], named)
        optimizer.zero_grad()
        named.sum().backward()
        optimizer.step()
        if f"adam_step{step + 1}_user_intent" in archive:
            tables = (model.embedding.detach(), model.user_intent.detach(), model.item_intent.detach())
            for name, value in golden.parameters(model, *tables):
                yield golden.check(f"adam_step{step + 1}_{name}", value)


def evaluation(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Rank all items with the final embeddings, training pairs masked, and measure."""
    golden = Golden(archive, dtype)
    users, items = golden["out_user_embedding"], golden["out_item_embedding"]
    truth = golden["eval_truth_padded"]
    row, place = (truth >= 0).nonzero().T
    wanted = Interactions(
        user=golden["eval_test_user"][row], item=truth[row, place], num_users=len(users), num_items=len(items)
    )

    def query(user: Tensor, history: Ragged) -> Tensor:
        return users[user]

    ks = [int(k) for k in archive["eval_ks"]]
    ranking = rank(Index(items, query), golden.train, wanted, max(ks), mask_history=True)
    for name in ("recall", "ndcg"):
        table = per_user(ranking, [f"{name}@{k}" for k in ks])
        values = torch.from_numpy(table.loc[archive["eval_test_user"]].to_numpy())
        yield golden.check(f"eval_{name}_per_user", values)
        yield golden.check(f"eval_{name}", values.mean(0))
    if dtype == torch.float64:  # rounded scores may change places
        asked = torch.searchsorted(ranking.users, golden["eval_test_user"])
        place = ranking.items[asked] < ranking.num_items  # behind them stand masked items, in the authors' lists
        for name, found in (("topk_item", ranking.items), ("hit", ranking.hit)):
            yield Check(f"eval_{name}", archive[f"eval_{name}"][place.numpy()], found[asked][place])


def metrics(archive: Archive, dtype: torch.dtype) -> Iterator[Check]:
    """Hand-made lists."""
    golden = Golden(archive, dtype)
    shown, truth = golden["metric_pred_item"], golden["metric_truth_padded"]
    hit = (shown.unsqueeze(2) == truth.unsqueeze(1)).any(2)
    relevant = (truth >= 0).sum(1)
    sizes = {"recall": relevant.double(), "ndcg": relevant}
    yield golden.check("metric_hit", hit)
    for name, measure in (("recall", recall), ("ndcg", ndcg)):
        found = torch.stack([measure(hit[:, : int(k)], sizes[name]) for k in archive["metric_ks"]], 1)
        yield golden.check(f"metric_{name}_per_user", found)
        yield golden.check(f"metric_{name}_sum", found.sum(0))
