"""Sequence models: a training step, an evaluation and a pass over the data beside the authors' way of doing them."""

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks import literal_sequence as literal
from benchmarks.speed_result import Measured, Out, publish
from graphcl.training.learner import Learner
from graphcl.training.loop import Training
from recsys.data.catalog import load_split
from recsys.data.interactions import Split
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.models.icsrec import ICSRec
from recsys.models.mclrec import MCLRec, MLPAugmenter
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.views import two_views

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
    floor: Callable[[Split, int], float] | None = None
    """The least GFLOP of the job."""


def our_step(model: Learner, split: Split, batch_size: int) -> Step:
    """Whole batches of a learner: every phase, the sampler's work included."""
    sampler, generator = model.sampler(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.eval().begin_epoch(sampler)
    model.train()
    optimizers = {phase: Training().optimizer_for(model.learns(phase)) for phase in model.phases}
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
    return our_step(icsrec(split), split, batch_size)


def icsrec(split: Split) -> ICSRec:
    """With the values of the authors' script, and few rounds of k-means, which is not part of a step."""
    config = ICSRec.Config(coarse_weight=0.3, fine_weight=0.1, n_intents=INTENTS, pairing="last", max_iter=2)
    return ICSRec(split.train, config)


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
    Contest("ICSRec step", their_icsrec, our_icsrec, 8, floor=lambda split, size: floor_of(icsrec(split), 1, 3, size)),
    Contest(
        "MCLRec batch (3 updates)",
        their_mclrec,
        our_mclrec,
        8,
        rounds=5,
        floor=lambda split, size: floor_of(MCLRec(split.train, MCLRec.Config()), 2, 9, size),
    ),
    Contest("evaluation, all test users", their_evaluation, our_evaluation, 5, rounds=3),
    Contest("epoch data pass", their_pass, our_pass, 50, rounds=3),
)


def floor_of(model: SequenceRecommender, updates: int, contrasts: int, batch_size: int) -> float:
    """The GFLOP that a batch needs: real items alone, the top layer at the last item, each matrix product once.

    updates: how often the encoder and the softmax are passed and differentiated; contrasts: how often 2 B states are
    multiplied with each other. A backward pass counts twice a forward pass.
    """
    batches = islice(model.sampler().batches(batch_size, torch.Generator().manual_seed(0)), 100)
    rows = [[part for part in batch if isinstance(part, Ragged)] for batch in batches]
    items = sum(part.values.numel() for parts in rows for part in parts) / len(rows)
    states = len(rows[0]) * batch_size
    maps, products = SIZE * SIZE, 8 * SIZE * SIZE
    encoder = items * (4 * maps + products + 2 * maps) + states * (2 * maps + products)
    softmax = batch_size * SIZE * model.num_items
    contrast = (2 * batch_size) ** 2 * SIZE
    return 3 * 2 * (updates * (encoder + softmax) + contrasts * contrast) / 1e9


def views_of(data: str, batch_size: int) -> list[list[Any]]:
    """Milliseconds of two views of a batch, made alone and within an epoch."""
    torch.set_num_threads(1)
    sampler = MCLRec(load_split(data).train, MCLRec.Config()).sampler()
    generator = torch.Generator().manual_seed(0)
    batch = next(sampler.samples.batches(batch_size, generator))
    alone, _ = least(lambda: two_views(batch.history, sampler.edits, generator), 50)
    epoch, _ = least(lambda: sum(1 for _ in sampler.batches(batch_size, generator)), 3)
    bare, _ = least(lambda: sum(1 for _ in sampler.samples.batches(batch_size, generator)), 3)
    return [["alone", alone * 1000], ["within an epoch", (epoch - bare) / sampler.steps(batch_size) * 1000]]


def peak_rate() -> float:
    """GFLOP/s of one thread in a product of large matrices."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / least(lambda: a @ a, 5)[0] / 1e9


def least(job: Step, rounds: int) -> tuple[float, float]:
    """Least CPU seconds of a job after one warm-up, and the peak memory of the process in MiB."""
    job()
    gc.collect()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        job()
        seconds.append(time.process_time() - start)
    return min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(make: Callable[[Split, int], Step], data: str, batch_size: int, rounds: int) -> tuple[float, float]:
    """`least` of the job that `make` prepares, in a process of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return least(make(load_split(data), batch_size), rounds)


def reached(floor: Callable[[Split, int], float], data: str, batch_size: int, seconds: float) -> list[float]:
    """GFLOP of the floor, GFLOP/s of a large product, and the share of it that a job of `seconds` reaches."""
    torch.set_num_threads(1)
    work, rate = floor(load_split(data), batch_size), peak_rate()
    return [work, work / rate * 1000, seconds * 1000, work / rate / seconds]


def main(
    data: Annotated[str, typer.Option(help="a data set with a history per user")] = "amazon-beauty-5core",
    batch_size: Annotated[int, typer.Option(help="samples of a step")] = 256,
    only: Annotated[str, typer.Option(help="part of the name of the contests to run")] = "",
    out: Out = None,
) -> None:
    """ICSRec, MCLRec, their evaluation and data pass: CPU seconds at one thread, each job in a process of its own."""
    rows: list[list[Any]] = []
    floors: list[list[Any]] = []
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for contest in (contest for contest in CONTESTS if only.lower() in contest.name.lower()):
            (theirs, their_peak), (ours, our_peak) = (
                pool.apply(timed, (make, data, batch_size, contest.rounds)) for make in (contest.theirs, contest.ours)
            )
            rows.append([contest.name, theirs, ours, theirs / ours, contest.target, their_peak, our_peak])
            if contest.floor:
                torch.set_num_threads(1)
                floors.append([contest.name, *reached(contest.floor, data, batch_size, ours)])
    times = {"authors' way, s": ".3f", "ours, s": ".3f", "ratio": ".1f", "target": "g"}
    memory = {"their peak, MiB": ".0f", "our peak, MiB": ".0f"}
    tables = [Measured(f"{data}, batch {batch_size}", {"job": "", **times, **memory}, rows)]
    if floors:
        columns = {"floor, GFLOP": ".2f", "floor, ms": ".1f", "ours, ms": ".1f", "share": ".0%"}
        tables.append(
            Measured("Beside the least arithmetic, at the rate of a large product", {"job": "", **columns}, floors)
        )
    if not only:
        title = f"Two views of {batch_size} histories: crop, mask, reorder (target 2 ms)"
        tables.append(Measured(title, {"made": "", "ms": ".2f"}, views_of(data, batch_size)))
    note = (
        "CPU seconds of one thread, the least of several rounds, each job in a process of its own; the authors' way is "
        "our own literal restatement of it (benchmarks/literal_sequence.py)."
    )
    publish("sequence", tables, note, out)


if __name__ == "__main__":
    typer.run(main)
