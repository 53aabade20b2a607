"""Sequence models: a training step, an evaluation and a pass over the data beside the authors' way of doing them."""

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks import literal_sequence as literal
from graphcl.training.learner import Learner
from recsys.data.catalog import load_split
from recsys.data.interactions import Split
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.models.icsrec import ICSRec
from recsys.models.mclrec import MCLRec, MLPAugmenter

Step = Callable[[], object]
SIZE, LENGTH, LAYERS, HEADS, INTENTS = 64, 50, 2, 2, 256


@dataclass(frozen=True)
class Contest:
    """One job, done both ways."""

    name: str
    theirs: Callable[[Split, int], Step]
    ours: Callable[[Split, int], Step]
    target: float
    rounds: int = 7


def our_step(model: Learner, split: Split, batch_size: int) -> Step:
    """Whole batches of a learner: every phase, the sampler's work included."""
    sampler, generator = model.sampler(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.eval().begin_epoch(sampler)
    model.train()
    optimizers = {phase: torch.optim.Adam(list(model.learns(phase)), 1e-3) for phase in model.phases}
    batches = sampler.batches(batch_size, generator)

    def step() -> None:
        batch = next(batches)
        for phase in model.phases:
            loss = torch.stack(list(model(batch, phase).values())).sum()
            model.zero_grad(set_to_none=True)
            loss.backward()
            optimizers[phase].step()

    return step


def our_icsrec(split: Split, batch_size: int) -> Step:
    """ICSRec with the partners of the authors' code."""
    config = ICSRec.Config(coarse_weight=0.3, fine_weight=0.1, n_intents=INTENTS, pairing="last", max_iter=2)
    return our_step(ICSRec(split.train, config), split, batch_size)


def our_mclrec(split: Split, batch_size: int) -> Step:
    """MCLRec, three updates."""
    return our_step(MCLRec(split.train, MCLRec.Config(meta_weight=0.05)), split, batch_size)


def lists_of(histories: Ragged) -> list[list[int]]:
    """Python lists of items from 1."""
    return [(row + 1).tolist() for row in histories.values.split(histories.lengths.tolist())]


def samples_of(split: Split) -> list[tuple[list[int], int]]:
    """Every prefix and its target, as Python lists of items from 1."""
    rows = lists_of(split.train.histories)
    return [(row[max(0, p - LENGTH) : p], row[p]) for row in rows for p in range(1, len(row))]


def padded_model(split: Split, *, left: bool) -> literal.PaddedSASRec:
    """The authors' encoder."""
    num_items = split.train.num_items
    return literal.PaddedSASRec(num_items, size=SIZE, length=LENGTH, layers=LAYERS, heads=HEADS, left=left)


def their_icsrec(split: Split, batch_size: int) -> Step:
    """Three padded encodings."""
    model = padded_model(split, left=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    centroids = torch.randn(INTENTS, SIZE)
    batches = literal.data_pass(samples_of(split), LENGTH, batch_size)
    return lambda: literal.icsrec_step(model, optimizer, next(batches), centroids)


def their_mclrec(split: Split, batch_size: int) -> Step:
    """Nine padded encodings. Views are those of the library: making them is not what is compared."""
    model = padded_model(split, left=False)
    augmenters = nn.ModuleList(MLPAugmenter((SIZE, 32, 16, SIZE)) for _ in range(2))
    optimizers = [torch.optim.Adam(part.parameters(), 1e-3) for part in (model, augmenters)]
    sampler = MCLRec(split.train, MCLRec.Config()).sampler()
    batches = sampler.batches(batch_size, torch.Generator().manual_seed(0))
    padding = split.train.num_items

    def right_padded(rows: Ragged) -> Tensor:
        values = torch.where(rows.values == padding, 0, rows.values + 1)
        table = Ragged(values, rows.offsets).padded(0)
        return nn.functional.pad(table, (0, LENGTH - table.shape[1]))

    def step() -> None:
        batch = next(batches)
        rows = [right_padded(part) for part in (batch.history, batch.first, batch.second)]
        literal.mclrec_step(model, augmenters, optimizers, (rows[0], batch.target + 1, *rows[1:]))

    return step


def our_evaluation(split: Split, batch_size: int) -> Step:
    """All test users."""
    model = ICSRec(split.train, ICSRec.Config()).eval()
    names = [f"{metric}@{k}" for k in (5, 10, 15, 20) for metric in ("hit", "ndcg")]
    seen = split.train + split.valid
    return lambda: measure(rank(model.index(), seen, split.test, 20, mask_history=True), names)


def their_evaluation(split: Split, batch_size: int) -> Step:
    """All test users."""
    model = padded_model(split, left=True)
    rows = lists_of((split.train + split.valid).histories.take(split.test.user))
    answers = (split.test.item + 1).tolist()
    return lambda: literal.evaluation(model, rows, answers)


def our_pass(split: Split, batch_size: int) -> Step:
    """One epoch of batches."""
    sampler = ICSRec(split.train, ICSRec.Config(pairing="last")).sampler()
    return lambda: sum(1 for _ in sampler.batches(batch_size, torch.Generator().manual_seed(0)))


def their_pass(split: Split, batch_size: int) -> Step:
    """One epoch of batches."""
    samples = samples_of(split)
    return lambda: sum(1 for _ in literal.data_pass(samples, LENGTH, batch_size))


CONTESTS = (
    Contest("ICSRec step", their_icsrec, our_icsrec, 8),
    Contest("MCLRec batch (3 updates)", their_mclrec, our_mclrec, 8, rounds=5),
    Contest("evaluation, all test users", their_evaluation, our_evaluation, 5, rounds=2),
    Contest("epoch data pass", their_pass, our_pass, 50, rounds=2),
)


def timed(make: Callable[[Split, int], Step], data: str, batch_size: int, rounds: int) -> tuple[float, float]:
    """Median CPU seconds of a job after one warm-up, and the peak memory of its process in MiB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step = make(load_split(data), batch_size)
    step()
    gc.collect()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return sorted(seconds)[len(seconds) // 2], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(
    data: Annotated[str, typer.Option(help="a data set with a history per user")] = "amazon-beauty-5core",
    batch_size: Annotated[int, typer.Option(help="samples of a step")] = 256,
    only: Annotated[str, typer.Option(help="part of the name of the contests to run")] = "",
) -> None:
    """ICSRec, MCLRec, their evaluation and data pass: CPU seconds at one thread, each job in a process of its own."""
    table = Table(title=f"{data}, batch {batch_size}, CPU seconds of one thread", title_justify="left", box=None)
    for name in ("job", "authors' way", "ours", "ratio", "target", "their MiB", "our MiB"):
        table.add_column(name, justify="left" if name == "job" else "right")
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for contest in (contest for contest in CONTESTS if only.lower() in contest.name.lower()):
            sides = [
                pool.apply(timed, (make, data, batch_size, contest.rounds)) for make in (contest.theirs, contest.ours)
            ]
            (theirs, their_peak), (ours, our_peak) = sides
            ratio = f"{theirs / ours:.1f}x"
            row = (
                f"{theirs:.3f}",
                f"{ours:.3f}",
                ratio,
                f"{contest.target:g}x",
                f"{their_peak:.0f}",
                f"{our_peak:.0f}",
            )
            table.add_row(contest.name, *row)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
