"""One training step of DCCF: ours beside a literal restatement of the published one, each in a process of its own.

The restatement samples in Python with look-ups in a SciPy dictionary of keys, gathers both ends of every edge, and
builds each contrast as a dense matrix. It computes the same numbers: the losses of both are compared first.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy.sparse import coo_matrix
from torch import Tensor

from benchmarks.speed_result import Measured, Out, publish
from recsys.data.catalog import load_split
from recsys.data.interactions import Interactions
from recsys.data.samplers import PairSampler, Triples
from recsys.models.dccf import DCCF

LOSSES_AGREE = 1e-4
"""Relative; both run in float32 and sum in different orders."""


class Literal:
    """The published step on the parameters of a `DCCF`."""

    def __init__(self, model: DCCF, train: Interactions) -> None:
        self.model, self.config = model, model.config
        self.head, self.tail = model.adjacency.edge_index.long()
        self.value = model.adjacency.value
        self.count = model.num_users + model.num_items
        pairs = coo_matrix(([1.0] * len(train), (train.user.numpy(), train.item.numpy())))
        self.known = pairs.todok()
        self.items: dict[int, list[int]] = {}
        for user, item in zip(train.user.tolist(), train.item.tolist(), strict=True):
            self.items.setdefault(user, []).append(item)

    def sample(self, size: int) -> Triples:
        """Users uniformly, one of their items, and an item that they do not know."""
        users, positives, negatives = [], [], []
        for _ in range(size):
            user = int(np.random.randint(self.model.num_users))
            negative = int(np.random.randint(self.model.num_items))
            while (user, negative) in self.known:
                negative = int(np.random.randint(self.model.num_items))
            users.append(user)
            positives.append(self.items[user][np.random.randint(len(self.items[user]))])
            negatives.append(negative)
        return Triples(torch.tensor(users), torch.tensor(positives), torch.tensor(negatives).unsqueeze(1))

    def propagate(self, value: Tensor, x: Tensor) -> Tensor:
        """Sparse product by gathering and scattering."""
        messages = x[self.tail] * value[:, None]
        return x.new_zeros(self.count, x.size(1)).scatter_add(0, self.head[:, None].expand_as(messages), messages)

    def mask(self, h: Tensor) -> Tensor:
        """Cosine of the ends of every edge, each row over its sum."""
        head, tail = F.normalize(h[self.head]), F.normalize(h[self.tail])
        weight = ((head * tail).sum(1) + 1) / 2
        inverse = torch.nan_to_num(h.new_zeros(self.count).scatter_add(0, self.head, weight).pow(-1), 0.0, 0.0, 0.0)
        return inverse[self.head] * weight

    def contrast(self, a: Tensor, b: Tensor) -> Tensor:
        """The loss by its formula."""
        a, b, t = F.normalize(a), F.normalize(b), self.config.temperature
        positive = torch.exp((a * b).sum(1) / t)
        everything = torch.exp(a @ b.T / t).sum(1) + 1e-8
        return -torch.log(positive / everything + 1e-8).mean()

    def __call__(self, batch: Triples) -> dict[str, Tensor]:
        """The four terms."""
        model, config = self.model, self.config
        layers: list[Tensor] = [model.embedding]
        signals = []
        for _ in range(config.n_layers):
            x = layers[-1]
            graph = self.propagate(self.value, x)
            user, item = model.halves(x)
            intent = torch.cat(
                [
                    torch.softmax(side @ prototypes, 1) @ prototypes.T
                    for side, prototypes in ((user, model.user_intent), (item, model.item_intent))
                ]
            )
            local, disentangled = (self.propagate(self.mask(h), x) for h in (graph, intent))
            signals.append((graph, intent, local, disentangled))
            layers.append(graph + intent + local + disentangled + x)
        user, item = model.halves(torch.stack(layers, 1).sum(1))
        first_user, first_item = model.halves(model.embedding)
        negative = batch.negative[:, 0]
        gap = (user[batch.user] * item[negative]).sum(1) - (user[batch.user] * item[batch.positive]).sum(1)
        rows = (first_user[batch.user], first_item[batch.positive], first_item[negative])
        squares = torch.stack([row.square().sum() for row in rows]).sum()
        contrast = user.new_zeros(())
        for graph, *others in signals:
            for nodes in model.nodes(batch):
                for other in others:
                    contrast = contrast + self.contrast(graph[nodes], other[nodes])
        return {
            "bpr": F.softplus(gap).mean(),
            "reg": config.reg_weight * squares / (2 * len(batch.user)),
            "intent_reg": config.intent_reg_weight
            * (model.user_intent.square().sum() + model.item_intent.square().sum()),
            "contrast": config.cl_weight * contrast,
        }


@dataclass
class Stopwatch:
    """CPU seconds of named parts, over several steps."""

    seconds: dict[str, list[float]]

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        """Run and note."""
        started = time.process_time()
        result = work()
        self.seconds.setdefault(name, []).append(time.process_time() - started)
        return result


def measure(kind: str, dataset: str, batch_size: int, steps: int) -> dict[str, object]:
    """Losses of the first step, the least CPU seconds of each part, and the peak memory of the process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    train = load_split(dataset).train
    model = DCCF(train, DCCF.Config())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    first = next(PairSampler(train, users="uniform").batches(batch_size, torch.Generator().manual_seed(0)))
    literal = Literal(model, train) if kind == "literal" else None
    batches = PairSampler(train, users="uniform").batches(batch_size, torch.Generator().manual_seed(1))
    watch = Stopwatch({})
    before = peak_gib()
    losses: dict[str, float] = {}
    for step in range(steps):
        batch = watch.time("sampling", partial(literal.sample, batch_size) if literal else partial(next, batches))
        given = first if step == 0 else batch
        terms = watch.time("forward", partial(literal, given) if literal else partial(model, given, "all"))
        losses = losses or {name: float(term.detach()) for name, term in terms.items()}
        optimizer.zero_grad()
        watch.time("backward", torch.stack(list(terms.values())).sum().backward)
        watch.time("Adam", optimizer.step)
    seconds = {name: min(values) for name, values in watch.seconds.items()}
    return {"losses": losses, "seconds": seconds, "gib": {"at its start": before, "at its peak": peak_gib()}}


def peak_gib() -> float:
    """Largest resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_process(kind: str, *arguments: object) -> dict[str, dict[str, float]]:
    """`measure` in a fresh interpreter, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.speed_dccf", kind, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(
    dataset: Annotated[str, typer.Option(help="entry of datasets.yaml")] = "lightgcn_gowalla",
    batch_size: Annotated[int, typer.Option(help="triples of a step")] = 10240,
    steps: Annotated[int, typer.Option(help="steps of each; the fastest counts")] = 2,
    out: Out = None,
) -> None:
    """Time a DCCF step on one thread."""
    ours = in_process("ours", dataset, batch_size, steps + 2)
    theirs = in_process("literal", dataset, batch_size, steps)
    for name, value in ours["losses"].items():
        if abs(value - theirs["losses"][name]) > LOSSES_AGREE * abs(value):
            raise AssertionError(f"{name}: {value} here, {theirs['losses'][name]} in the restatement")
    publish(
        "dccf",
        [
            Measured(
                f"DCCF step on {dataset}, CPU seconds and GiB",
                {"part": "", "literal": ".4g", "ours": ".4g", "ratio": ".1f"},
                [(name, other, mine, other / mine) for name, mine, other in rows(ours, theirs)],
            )
        ],
        f"Batch {batch_size}, defaults of the model (d 32, 128 intents, 2 layers), float32, one thread, each side in a "
        f"process of its own; the fastest of {steps} (literal) and {steps + 2} (ours) steps. All loss terms of the "
        f"first step agree to {LOSSES_AGREE:g}.",
        out,
    )


def rows(ours: dict[str, dict[str, float]], theirs: dict[str, dict[str, float]]) -> Iterable[tuple[str, float, float]]:
    """Name, ours, theirs."""
    for name, mine in ours["seconds"].items():
        yield name, mine, theirs["seconds"][name]
    yield "step", sum(ours["seconds"].values()), sum(theirs["seconds"].values())
    for name, mine in ours["gib"].items():
        yield f"GiB of the process {name}", mine, theirs["gib"][name]
    step = [found["gib"]["at its peak"] - found["gib"]["at its start"] for found in (ours, theirs)]
    yield "GiB of the step alone", step[0], step[1]


if __name__ == "__main__":
    kind, dataset, batch_size, steps = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(kind, dataset, int(batch_size), int(steps))) + "\n")
